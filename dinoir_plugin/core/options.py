"""One reader for all options: annotations say what a key takes, and stand where the option is read.

A block of options is a frozen dataclass whose fields are made by :func:`option`; arguments of a registered class are
declared by its constructor. Understood are ``int``, ``float``, ``bool``, ``str``, ``Literal``, ``X | None`` (an empty
value, ``~``), ``Sequence`` and ``list``, ``Mapping`` (a free block), dataclasses, and any of these in
``Annotated[...]`` with a :class:`Constraint`.

Here, and nowhere else, options become values: 6.0 is the whole number 6, 1e-4 a number also where it came as text, and
a name that YAML took for a number is the text that was written.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from dinoir_plugin.core.constraints import Constraint
from dinoir_plugin.core.errors import OptionsError, close_to, missing_option, unknown_option
from dinoir_plugin.core.written import EXPONENT, as_written, plain

T = TypeVar('T')
LEAVES = {str: 'text', int: 'a whole number', float: 'a number', bool: 'true or false'}
SEVERAL = {str: 'names', int: 'whole numbers', float: 'numbers'}


def option(
    description: str, default: Any = None, *, required: bool | str = False, keys: str | None = None,
    hidden: bool = False,
) -> Any:
    """Declare one option, a field of a frozen dataclass with ``kw_only=True``.

    Args:
        description: What it does, one line.
        default: What it is where it is left out.
        required: When it must be there: always (True), never (False), or in ``'train'`` or ``'test'`` only.
        keys: A pattern such as ``*_opt``, for a field ``Mapping[str, X]`` that collects all keys of this form.
        hidden: Whether BasicSR or the plugin sets it, so that the reference of the options leaves it out.
    """
    metadata = {'description': description, 'required': required, 'keys': keys, 'hidden': hidden}
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


def as_values(kind: Any, value: object, phase: str = 'train') -> Any:
    """Give what the file says in the file's own form, dicts and lists, with the values that :func:`read` takes.

    What has a fault stays as it is: :func:`problems` tells of it.
    """
    return _Reading(phase, in_form=True).value(kind, value, '')


def join(path: str, key: object) -> str:
    """Make ``tasks.denoise.sigma`` of ``tasks.denoise`` and ``sigma``; an empty path adds nothing."""
    return f'{path}.{as_written(key)}' if path else as_written(key)


def fields_of(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """Give the options that a dataclass declares by name, without those that stand for a pattern of keys."""
    return {field.name: field for field in dataclasses.fields(kind) if field.metadata.get('keys') is None}


def expected(kind: Any) -> str:
    """Say in words what an annotation takes."""
    base, constraints = taken_apart(kind)
    if get_origin(base) is Literal:
        words = f'one of {", ".join(map(str, get_args(base)))}'
    elif alternatives := alternatives_of(base):
        words = ' or '.join(expected(kind) for kind in alternatives if kind is not type(None))
    elif is_list(base):
        entry, _ = taken_apart((get_args(base) or (Any,))[0])
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

    Args:
        phase: See :func:`read`.
        in_form: Whether the result has the file's own form, as :func:`as_values` gives it.

    Attributes:
        faults: What is wrong, in the order of the file.
    """

    def __init__(self, phase: str, in_form: bool = False) -> None:
        self.phase = phase
        self.in_form = in_form
        self.faults: list[OptionsError] = []

    def value(self, kind: Any, value: Any, path: str) -> Any:
        """Read a value of any kind; where it has a fault, None, or in the file's form the value as it is."""
        base, constraints = taken_apart(kind)
        for constraint in constraints:
            value = constraint.converted(value)
        before = len(self.faults)
        result = self._unconstrained(kind, base, value, path)
        if len(self.faults) == before:
            for constraint in constraints:
                problem = '' if constraint.allows(result) else constraint.problem(value, expected(kind))
                if problem:
                    self.faults.append(OptionsError(path, problem))
                    break
        return result

    def _unconstrained(self, kind: Any, base: Any, value: Any, path: str) -> Any:
        if base is Any:
            return _with_numbers(value)
        if alternatives := alternatives_of(base):
            return self._one_of(alternatives, kind, value, path)
        if isinstance(base, type) and dataclasses.is_dataclass(base) and isinstance(value, Mapping):
            return self._block(base, value, path)
        if get_origin(base) is Mapping and isinstance(value, Mapping):
            kind = get_args(base)[1]
            entries = ((as_written(key), self.value(kind, entry, join(path, key))) for key, entry in value.items())
            return dict(entries)
        if is_list(base) and isinstance(value, Sequence) and not isinstance(value, str):
            kind = (get_args(base) or (Any,))[0]
            found = [self.value(kind, entry, f'{path}[{place}]') for place, entry in enumerate(value)]
            return found if self.in_form or get_origin(base) is list else tuple(found)
        leaf = _leaf(base, value)
        if leaf is None:
            self._refuse(kind, value, path)
            return plain(value) if self.in_form else None
        return leaf

    def _one_of(self, alternatives: Sequence[Any], kind: Any, value: Any, path: str) -> Any:
        if value is None and type(None) in alternatives:
            return None
        kinds = [alternative for alternative in alternatives if alternative is not type(None)]
        kinds.sort(key=lambda alternative: alternative is str)  # any number could be text as well
        tried = []
        for alternative in kinds:
            attempt = _Reading(self.phase, self.in_form)
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
        return plain(value) if self.in_form else None

    def _block(self, kind: type, block: Mapping[str, Any], path: str) -> Any:
        before = len(self.faults)
        hints, named = hints_of(kind), fields_of(kind)
        patterns = {field.metadata['keys']: field.name for field in dataclasses.fields(kind)
                    if field.metadata.get('keys') is not None}  # fmt: skip
        if hasattr(kind, 'rules'):
            self.faults += kind.rules(block, path, self.phase)
        found: dict[str, Any] = {name: {} for name in patterns.values()}
        in_form: dict[str, Any] = {}
        for written, entry in block.items():
            key = as_written(written)
            pattern = next((pattern for pattern in patterns if fnmatchcase(key, pattern)), None)
            if key in named:
                found[key] = in_form[key] = self.value(hints[key], entry, join(path, key))
            elif pattern is not None:
                entry_kind = get_args(hints[patterns[pattern]])[1]
                found[patterns[pattern]][key] = in_form[key] = self.value(entry_kind, entry, join(path, key))
            else:
                in_form[key] = plain(entry)
                valid = [*named, *(pattern.replace('*', '<name>') for pattern in patterns)]
                self.faults.append(unknown_option(key, valid, path))
        for name, field in named.items():
            if name not in block and field.metadata.get('required') in (True, self.phase):
                self.faults.append(missing_option(join(path, name), expected(hints[name])))
        if self.in_form:
            return in_form
        return None if len(self.faults) > before else kind(**found)

    def _refuse(self, kind: Any, value: Any, path: str) -> None:
        base, _ = taken_apart(kind)
        words = map(str, get_args(base)) if get_origin(base) is Literal else ()
        hint = close_to(str(value), words) if isinstance(value, str) else ''
        if base is str and isinstance(value, bool):
            hint = 'YAML reads yes, no, on and off as true and false: put quotes around a name'
        self.faults.append(OptionsError(path, f'expected {expected(kind)}, got {plain(value)!r}', hint))


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """Give the annotations of a dataclass's fields."""
    return get_type_hints(kind, include_extras=True)


def taken_apart(kind: Any) -> tuple[Any, tuple[Constraint, ...]]:
    """Split ``Annotated[base, constraints]``."""
    if get_origin(kind) is not Annotated:
        return kind, ()
    base, *more = get_args(kind)
    return base, tuple(entry for entry in more if isinstance(entry, Constraint))


def alternatives_of(base: Any) -> tuple[Any, ...]:
    """Give the kinds of a union; none for any other annotation."""
    return get_args(base) if get_origin(base) in (Union, types.UnionType) else ()


def is_list(base: Any) -> bool:
    """Tell whether an annotation takes a list."""
    return get_origin(base) in (Sequence, list, tuple)


def _leaf(base: Any, value: Any) -> Any:
    """Give the number, text, word or truth value that is meant; None where it is none of the kind ``base``."""
    if get_origin(base) is Literal:
        return next((word for word in get_args(base) if type(plain(value)) is type(word) and value == word), None)
    if base is str and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return as_written(value)
    if base in (int, float):
        number = _with_numbers(value)
        if isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number):
            return float(number) if base is float else int(number) if number == int(number) else None
    return value if base is bool and isinstance(value, bool) else None


def _with_numbers(value: Any) -> Any:
    """Give a value with numbers in the place of texts such as '1e-4', which nobody means as text."""
    if isinstance(value, Mapping):
        return {plain(key): _with_numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_numbers(entry) for entry in value]
    if isinstance(value, str) and EXPONENT.fullmatch(value):
        return float(value.replace('_', ''))
    return plain(value)
