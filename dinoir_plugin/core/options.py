"""One reader for all options: annotations say what a key takes, and stand where the option is read.

A block of options is a frozen dataclass whose fields are made by :func:`option`; arguments of a registered class are
declared by its constructor. Understood are ``int``, ``float``, ``bool``, ``str``, ``Literal``, ``X | None`` (an empty
value, ``~``), ``Sequence`` and ``list``, ``Mapping`` (a free block), dataclasses, and any of these in
``Annotated[...]`` with a :class:`Constraint`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from dinoir_plugin.core.constraints import Constraint
from dinoir_plugin.core.errors import OptionsError, close_to, missing_option, unknown_option

T = TypeVar('T')
NUMBER_TEXT = re.compile(r'[+-]?\d+(\.\d*)?[eE][+-]?\d+')
LEAVES = {str: 'text', int: 'a whole number', float: 'a number', bool: 'true or false'}
SEVERAL = {str: 'names', int: 'whole numbers', float: 'numbers'}


def option(description: str, default: Any = None, *, required: bool | str = False, keys: str | None = None) -> Any:
    """Declare one option, a field of a frozen dataclass with ``kw_only=True``.

    Args:
        description: What it does, one line.
        default: What it is where it is left out.
        required: When it must be there: always (True), never (False), or in ``'train'`` or ``'test'`` only.
        keys: A pattern such as ``*_opt``, for a field ``Mapping[str, X]`` that collects all keys of this form.
    """
    metadata = {'description': description, 'required': required, 'keys': keys}
    if keys is not None:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Hold what builds a registered class."""

    type: str = option('Name under which it is registered.', required=True)
    arguments: Mapping[str, Any] = option('Arguments of that class.', keys='*')


@overload
def read(kind: type[T], value: object, path: str = '', phase: str = 'train') -> T: ...
@overload
def read(kind: Any, value: object, path: str = '', phase: str = 'train') -> Any: ...
def read(kind: Any, value: object, path: str = '', phase: str = 'train') -> Any:
    """Turn what an options file says into a checked value.

    Args:
        kind: A dataclass of options, or an annotation.
        value: What the file says, not changed.
        path: The option's path, for errors.
        phase: ``train`` or ``test``: options that are required only there.

    Raises:
        OptionsError: For the first option that is unknown, missing or of the wrong kind, with its full path.
    """
    reading = _Reading(phase)
    result = reading.value(kind, value, path)
    for fault in reading.faults:
        raise fault
    return result


def problems(kind: Any, value: object, path: str = '', phase: str = 'train') -> Iterator[OptionsError]:
    """Give all that :func:`read` would refuse, in the order of the file."""
    reading = _Reading(phase)
    reading.value(kind, value, path)
    return iter(reading.faults)


def argument_problems(build: Callable[..., Any], path: str, values: Mapping[str, Any]) -> Iterator[OptionsError]:
    """Hold arguments against the annotations of a class or function; those of other kinds are passed over."""
    signed = build.__init__ if isinstance(build, type) else build  # type: ignore[misc]
    try:
        hints = get_type_hints(signed, include_extras=True)
    except NameError:  # imported for type checkers only
        return
    for name, value in values.items():
        if name in hints and _is_readable(hints[name]):
            yield from problems(hints[name], value, join(path, name))


def join(path: str, key: object) -> str:
    """Make ``tasks.denoise.sigma`` of ``tasks.denoise`` and ``sigma``; an empty path adds nothing."""
    return f'{path}.{key}' if path else str(key)


def fields_of(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """Give the options that a dataclass declares by name, without those that stand for a pattern of keys."""
    return {field.name: field for field in dataclasses.fields(kind) if field.metadata.get('keys') is None}


def expected(kind: Any) -> str:
    """Say in words what an annotation takes."""
    base, constraints = _taken_apart(kind)
    if get_origin(base) is Literal:
        words = f'one of {", ".join(map(str, get_args(base)))}'
    elif alternatives := _alternatives(base):
        words = ' or '.join(expected(kind) for kind in alternatives if kind is not type(None))
    elif _is_list(base):
        entry, _ = _taken_apart((get_args(base) or (Any,))[0])
        words = f'a list of {SEVERAL.get(entry, "blocks" if get_origin(entry) is Mapping else "values")}'
        if dataclasses.is_dataclass(entry) and isinstance(entry, type):
            words = f'a list of blocks with {", ".join(fields_of(entry))}'
    else:
        words = LEAVES.get(base, 'a block of options')
    for constraint in constraints:
        words = constraint.words(words)
    return words


class _Reading:
    """Read one value and all that is inside it.

    Attributes:
        faults: What is wrong, in the order of the file.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.faults: list[OptionsError] = []

    def value(self, kind: Any, value: Any, path: str) -> Any:
        """Read a value of any kind; None where it has a fault."""
        base, constraints = _taken_apart(kind)
        for constraint in constraints:
            value = constraint.converted(value)
        before = len(self.faults)
        result = self._unconstrained(kind, base, value, path)
        if len(self.faults) == before:
            for constraint in constraints:
                problem = '' if constraint.allows(value) else constraint.problem(value, expected(kind))
                if problem:
                    self.faults.append(OptionsError(path, problem))
                    break
        return result

    def _unconstrained(self, kind: Any, base: Any, value: Any, path: str) -> Any:
        if base is Any:
            self._refuse_number_texts(value, path)
            return value
        if isinstance(value, str) and NUMBER_TEXT.fullmatch(value):
            self._refuse_number_texts(value, path)
        elif alternatives := _alternatives(base):
            return self._one_of(alternatives, kind, value, path)
        elif isinstance(base, type) and dataclasses.is_dataclass(base) and isinstance(value, Mapping):
            return self._block(base, value, path)
        elif get_origin(base) is Mapping and isinstance(value, Mapping):
            kind = get_args(base)[1]
            return {key: self.value(kind, entry, join(path, key)) for key, entry in value.items()}
        elif _is_list(base) and isinstance(value, Sequence) and not isinstance(value, str):
            kind = (get_args(base) or (Any,))[0]
            entries = [self.value(kind, entry, f'{path}[{place}]') for place, entry in enumerate(value)]
            return entries if get_origin(base) is list else tuple(entries)
        elif _is_leaf(base, value):
            return float(value) if base is float else value
        else:
            self._refuse(kind, value, path)
        return None

    def _one_of(self, alternatives: Sequence[Any], kind: Any, value: Any, path: str) -> Any:
        if value is None and type(None) in alternatives:
            return None
        kinds = [alternative for alternative in alternatives if alternative is not type(None)]
        tried = []
        for alternative in kinds:
            attempt = _Reading(self.phase)
            result = attempt.value(alternative, value, path)
            if not attempt.faults:
                return result
            tried.append(attempt.faults)
        # faults inside a list or block say more than that another kind would do
        inside = [faults for faults in tried if len(kinds) == 1 or faults[0].path != path]
        if inside:
            self.faults += inside[0]
        else:
            self._refuse(kind, value, path)
        return None

    def _block(self, kind: type, block: Mapping[str, Any], path: str) -> Any:
        before = len(self.faults)
        hints, named = _hints(kind), fields_of(kind)
        patterns = {field.metadata['keys']: field.name for field in dataclasses.fields(kind)
                    if field.metadata.get('keys') is not None}  # fmt: skip
        if hasattr(kind, 'rules'):
            self.faults += kind.rules(block, path, self.phase)
        found: dict[str, Any] = {name: {} for name in patterns.values()}
        for key, entry in block.items():
            pattern = next((pattern for pattern in patterns if fnmatchcase(str(key), pattern)), None)
            if key in named:
                found[key] = self.value(hints[key], entry, join(path, key))
            elif pattern is not None:
                entry_kind = get_args(hints[patterns[pattern]])[1]
                found[patterns[pattern]][key] = self.value(entry_kind, entry, join(path, key))
            else:
                valid = [*named, *(pattern.replace('*', '<name>') for pattern in patterns)]
                self.faults.append(unknown_option(key, valid, path))
        for name, field in named.items():
            if name not in block and field.metadata.get('required') in (True, self.phase):
                self.faults.append(missing_option(join(path, name), expected(hints[name])))
        return None if len(self.faults) > before else kind(**found)

    def _refuse(self, kind: Any, value: Any, path: str) -> None:
        base, _ = _taken_apart(kind)
        words = map(str, get_args(base)) if get_origin(base) is Literal else ()
        hint = close_to(str(value), words) if isinstance(value, str) else ''
        self.faults.append(OptionsError(path, f'expected {expected(kind)}, got {value!r}', hint))

    def _refuse_number_texts(self, value: Any, path: str) -> None:
        """Refuse texts such as '1e-4', which a person meant as a number and YAML 1.1 reads as text."""
        if isinstance(value, Mapping):
            for key, entry in value.items():
                self._refuse_number_texts(entry, join(path, key))
        elif isinstance(value, (list, tuple)):
            for place, entry in enumerate(value):
                self._refuse_number_texts(entry, f'{path}[{place}]')
        elif isinstance(value, str) and NUMBER_TEXT.fullmatch(value):
            digits, exponent = re.split('[eE]', value)
            number = f'{digits}{"" if "." in digits else ".0"}e{"" if exponent[0] in "+-" else "+"}{exponent}'
            problem = f'YAML reads {value} as text, not as a number'
            self.faults.append(OptionsError(path, problem, f'Write {number} for {value}'))


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _taken_apart(kind: Any) -> tuple[Any, tuple[Constraint, ...]]:
    """Split ``Annotated[base, constraints]``."""
    if get_origin(kind) is not Annotated:
        return kind, ()
    base, *more = get_args(kind)
    return base, tuple(entry for entry in more if isinstance(entry, Constraint))


def _alternatives(base: Any) -> tuple[Any, ...]:
    return get_args(base) if get_origin(base) in (Union, types.UnionType) else ()


def _is_list(base: Any) -> bool:
    return get_origin(base) in (Sequence, list, tuple)


def _is_leaf(base: Any, value: Any) -> bool:
    if get_origin(base) is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(base))
    if base is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return base in LEAVES and isinstance(value, base) and (base is bool or not isinstance(value, bool))


def _is_readable(kind: Any) -> bool:
    """Tell whether the reader understands an annotation; constructors have others, too."""
    base, _ = _taken_apart(kind)
    if get_origin(base) is Mapping:
        return True
    if _is_list(base) or _alternatives(base):
        return all(_is_readable(part) for part in get_args(base) if part is not ...)
    return base in LEAVES or base is type(None) or get_origin(base) is Literal
