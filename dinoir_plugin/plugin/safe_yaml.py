"""``ordered_yaml()`` hands out PyYAML's unsafe loader: an options file can run code.

It also changes PyYAML's own loader and dumper classes for everybody in the process, and keeps the last of two equal
keys without a word. In its place come classes of our own, derived from the safe loader, that build the same
OrderedDict.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import yaml

from dinoir_plugin.compat._replace import Function
from dinoir_plugin.core.yaml_options import OptionsLoader

_HostDumper: Any = getattr(yaml, 'CDumper', yaml.Dumper)


class OptionsDumper(_HostDumper):
    """Dump as the dumper that the host hands out, with OrderedDict written as a mapping."""


def _represent_ordered(dumper: Any, data: OrderedDict[Any, Any]) -> Any:
    return dumper.represent_dict(data.items())


# PyYAML copies the tables of the parent class on the first such call: its own classes stay as they were.
OptionsDumper.add_representer(OrderedDict, _represent_ordered)


def ordered_yaml() -> tuple[type[OptionsLoader], type[OptionsDumper]]:
    """Give loader and dumper for options files, in the place of the host's function of that name."""
    return OptionsLoader, OptionsDumper


def replacement() -> tuple[Function, Function]:
    """Give the host's ``ordered_yaml`` and ours."""
    from basicsr.utils import options

    return options.ordered_yaml, ordered_yaml
