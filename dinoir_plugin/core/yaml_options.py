"""Reading an options file, with rules that PyYAML has not: plain values only, no key twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node
from yaml.resolver import BaseResolver

MERGE_TAG = 'tag:yaml.org,2002:merge'
PYTHON_TAGS = 'tag:yaml.org,2002:python/'

_SafeLoader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class OptionsLoader(_SafeLoader):
    """Load as PyYAML's safe loader, with OrderedDict for mappings, and refuse a key that stands twice."""

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


class GlanceLoader(_SafeLoader):
    """Load as PyYAML's safe loader and overlook unknown tags: for a glance at options that the host may read."""


def _overlook(loader: Any, suffix: str, node: Node) -> None:
    """Stand for a value under an unknown tag."""


# PyYAML copies the tables of the parent class on the first such call: its own classes stay as they were.
OptionsLoader.add_constructor(BaseResolver.DEFAULT_MAPPING_TAG, OptionsLoader.ordered_mapping)
OptionsLoader.add_multi_constructor(PYTHON_TAGS, OptionsLoader.refuse_python)
GlanceLoader.add_multi_constructor('', _overlook)


def read_options(path: str, loader: Any = OptionsLoader) -> dict[str, Any]:
    """Read an options file.

    Args:
        path: Of the file.
        loader: A loader derived from PyYAML's safe one.

    Raises:
        SystemExit: It cannot be read, is not YAML, holds anything but plain values or a key twice.
    """
    try:
        with Path(path).open() as file:
            opt = yaml.load(file, Loader=loader)  # derived from the safe loader
    except OSError as error:
        raise SystemExit(f'{path}: cannot read the options file: {error.strerror}') from None
    except UnicodeDecodeError as error:
        raise SystemExit(f'{path}: cannot read the options file: {error}') from None
    except yaml.YAMLError as error:
        raise SystemExit(f'{path}: {_one_line(error)}') from None
    if not isinstance(opt, dict):
        raise SystemExit(f'{path}: expected a mapping of options, got {type(opt).__name__}')
    return opt


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, 'problem_mark', None)
    problem = getattr(error, 'problem', None) or str(error)
    return ' '.join((f'line {mark.line + 1}: {problem}' if mark else problem).split())


def with_forced(opt: dict[str, Any], forced: list[str]) -> dict[str, Any]:
    """Give the options as ``--force_yml`` changes them, read as the host reads it (``train:ema_decay=0.9``)."""
    from basicsr.utils import options

    opt = deepcopy(opt)
    for entry in forced:
        keys, _, value = entry.partition('=')
        *parents, last = keys.strip().split(':')
        block: Any = opt
        for key in parents:
            block = block.get(key) if isinstance(block.get(key), dict) else {}
        block[last] = options._postprocess_yml_value(value.strip())
    return opt
