"""Reading an options file, with rules that PyYAML has not: plain values only, no key twice, 1e-4 is a number."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.resolver import BaseResolver

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.written import EXPONENT, WrittenFloat, WrittenInt, as_written

STANDARD = 'tag:yaml.org,2002:'
MERGE_TAG, INT_TAG, FLOAT_TAG, TIME_TAG = (f'{STANDARD}{name}' for name in ('merge', 'int', 'float', 'timestamp'))
PYTHON_TAGS = f'{STANDARD}python/'

_SafeLoader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class OptionsLoader(_SafeLoader):
    """Load as PyYAML's safe loader, with OrderedDict for mappings, and refuse a key that stands twice.

    Numbers remember their text (:mod:`dinoir_plugin.core.written`), dates are text, and so are keys that are neither
    text nor whole numbers: a task may be called ``on`` or ``0.5``.
    """

    def ordered_mapping(self, node: MappingNode) -> OrderedDict[Any, Any]:
        """Build one mapping; ``<<`` merges are resolved, and may be overridden as YAML allows."""
        self._refuse_duplicates(node)
        self.flatten_mapping(node)
        return OrderedDict((self._key(key), self.construct_object(value)) for key, value in node.value)

    def whole_number(self, node: ScalarNode) -> WrittenInt:
        """Build a whole number."""
        return WrittenInt(self.construct_yaml_int(node), node.value)

    def number(self, node: ScalarNode) -> WrittenFloat:
        """Build a number."""
        return WrittenFloat(self.construct_yaml_float(node), node.value)

    def _key(self, node: Node) -> Any:
        key = self.construct_object(node, deep=True)
        return key if isinstance(key, (str, WrittenInt)) else node.value

    def _refuse_duplicates(self, node: MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                problem = 'a key has to be a plain value'
            elif key in lines or key_node.value in lines:
                problem = f"key '{key}' stands twice, first in line {lines.get(key, lines.get(key_node.value))}"
            else:
                lines[key] = lines[key_node.value] = key_node.start_mark.line + 1
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
OptionsLoader.add_constructor(INT_TAG, OptionsLoader.whole_number)
OptionsLoader.add_constructor(FLOAT_TAG, OptionsLoader.number)
OptionsLoader.add_multi_constructor(PYTHON_TAGS, OptionsLoader.refuse_python)
OptionsLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != TIME_TAG]
    for first, forms in _SafeLoader.yaml_implicit_resolvers.items()
}
OptionsLoader.add_implicit_resolver(FLOAT_TAG, re.compile(f'(?:{EXPONENT.pattern})$'), list('-+.0123456789'))
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
    except RecursionError:
        raise SystemExit(f'{path}: blocks inside of blocks, too deep to be read') from None
    if not isinstance(opt, dict):
        raise SystemExit(f'{path}: expected a mapping of options, got {type(opt).__name__}')
    return opt


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, 'problem_mark', None)
    problem = getattr(error, 'problem', None) or str(error)
    return ' '.join((f'line {mark.line + 1}: {problem}' if mark else problem).split())


def with_forced(opt: Mapping[str, Any], forced: list[str]) -> dict[str, Any]:
    """Give the options as ``--force_yml`` changes them (``train:ema_decay=0.9``); values are read as in a file.

    Raises:
        OptionsError: An entry without a value, or for a block that there is not.
    """
    changed: dict[str, Any] = deepcopy(dict(opt))
    for entry in forced:
        keys, equals, value = entry.partition('=')
        if not equals:
            raise OptionsError(f'--force_yml {entry}', 'expected keys and a value such as train:ema_decay=0.999')
        *parents, last = keys.strip().split(':')
        block: Any = changed
        for key in parents:
            block = block.get(_key_in(block, key)) if isinstance(block, Mapping) else None
        if not isinstance(block, dict):
            raise OptionsError(f'--force_yml {entry}', 'the file has no such block', 'BasicSR makes none')
        block[_key_in(block, last)] = _forced(value.strip())
    return changed


def _key_in(block: Mapping[Any, Any], word: str) -> Any:
    """Find the key that a word means: in the file it may be a number."""
    return next((key for key in block if as_written(key) == word), word)


def _forced(text: str) -> Any:
    """Read a value as the file would have it; what is no YAML is text, and BasicSR's ``none`` is empty."""
    if not text or text.lower() == 'none':
        return None if text else ''
    try:
        return yaml.load(text, Loader=OptionsLoader)  # derived from the safe loader
    except yaml.YAMLError:
        return text


def options_text(blocks: Mapping[str, Any]) -> str:
    """Write blocks as they stand in an options file, the innermost ones on one line each."""
    text: str = yaml.safe_dump(dict(blocks), sort_keys=False, default_flow_style=None, width=200)
    return text
