"""``ordered_yaml()`` hands out PyYAML's unsafe loader: an options file can run code.

It also changes PyYAML's own loader and dumper classes for everybody in the process, and keeps the last of two equal
keys without a word. The mend gives classes of our own, derived from the safe loader, that build the same OrderedDict.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node
from yaml.resolver import BaseResolver

from dinoir_plugin.compat._replace import is_ours, replace

MERGE_TAG = 'tag:yaml.org,2002:merge'
PYTHON_TAGS = 'tag:yaml.org,2002:python/'

_SafeLoader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_HostDumper: Any = getattr(yaml, 'CDumper', yaml.Dumper)


class OptionsLoader(_SafeLoader):
    """PyYAML's safe loader with OrderedDict for mappings, refusing a key that stands twice."""

    def ordered_mapping(self, node: MappingNode) -> OrderedDict[Any, Any]:
        """Build one mapping; ``<<`` merges are resolved, and may be overridden as YAML allows."""
        self._refuse_duplicates(node)
        self.flatten_mapping(node)
        return OrderedDict(self.construct_pairs(node))

    def _refuse_duplicates(self, node: MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                problem = 'a key has to be a plain value'
            elif key in lines:
                problem = f"key '{key}' stands twice, first in line {lines[key]}"
            else:
                lines[key] = key_node.start_mark.line + 1
                continue
            raise ConstructorError('while reading a mapping', node.start_mark, problem, key_node.start_mark)

    def refuse_python(self, suffix: str, node: Node) -> None:
        """Say plainly what the safe loader would call an unknown tag."""
        raise ConstructorError(
            None, None, f"the tag '!!python/{suffix}' is refused: options files hold plain values", node.start_mark
        )


class OptionsDumper(_HostDumper):
    """The dumper that the host hands out, with OrderedDict written as a mapping."""


def _represent_ordered(dumper: Any, data: OrderedDict[Any, Any]) -> Any:
    return dumper.represent_dict(data.items())


# PyYAML copies the tables of the parent class on the first such call: its own classes stay as they were.
OptionsLoader.add_constructor(BaseResolver.DEFAULT_MAPPING_TAG, OptionsLoader.ordered_mapping)
OptionsLoader.add_multi_constructor(PYTHON_TAGS, OptionsLoader.refuse_python)
OptionsDumper.add_representer(OrderedDict, _represent_ordered)


def ordered_yaml() -> tuple[type[OptionsLoader], type[OptionsDumper]]:
    """Loader and dumper for options files, in the place of the host's function of that name."""
    return OptionsLoader, OptionsDumper


def mend() -> bool:
    """Replace the host's ``ordered_yaml``."""
    from basicsr.utils import options

    if is_ours(options.ordered_yaml):
        return False
    replace(options.ordered_yaml, ordered_yaml)
    return True
