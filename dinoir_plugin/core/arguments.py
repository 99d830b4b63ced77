"""Options that are arguments of a class or function: checked, and turned into values, by its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import LEAVES, alternatives_of, as_values, is_list, join, problems, taken_apart


def argument_values(build: Callable[..., Any], values: Mapping[str, Any], own: bool) -> dict[str, Any]:
    """Give a class's or function's arguments as values.

    Args:
        build: The class or function.
        values: Its arguments by name, as the file has them.
        own: Whether its annotations can be trusted. Those of others are not asked: where an argument's default is a
            whole number, or a list of them, 6.0 is one, and so it is in what BasicSR's own require.
    """
    hints = _readable_hints(build) if own else {}
    parameters = inspect.signature(build).parameters
    found = {name: as_values(hints.get(name, Any), value) for name, value in values.items()}
    return {
        name: value if name in hints else _like(_default(parameters.get(name), build), value)
        for name, value in found.items()
    }


def argument_problems(build: Callable[..., Any], path: str, values: Mapping[str, Any]) -> Iterator[OptionsError]:
    """Hold arguments against the annotations of a class or function; those of other kinds are passed over."""
    hints = _readable_hints(build)
    for name, value in values.items():
        if name in hints:
            yield from problems(hints[name], value, join(path, name))


def _default(parameter: inspect.Parameter | None, build: Callable[..., Any]) -> Any:
    """Give an argument's default; of what BasicSR requires, which are sizes and counts, a whole number."""
    if parameter is None or parameter.default is parameter.empty:
        return 0 if parameter is not None and build.__module__.startswith('basicsr.') else None
    return parameter.default


def _like(default: Any, value: Any) -> Any:
    """Give whole numbers as such where the default is one, or a list of them."""
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        first = default[0] if isinstance(default, (list, tuple)) and default else default
        return [_like(first, entry) for entry in value]
    return value


def argument_kinds(build: Callable[..., Any]) -> dict[str, Any]:
    """Give the annotations of a class's or function's arguments."""
    signed = build.__init__ if isinstance(build, type) else build  # type: ignore[misc]
    try:
        return get_type_hints(signed, include_extras=True)
    except NameError:  # imported for type checkers only
        return {}


def _readable_hints(build: Callable[..., Any]) -> dict[str, Any]:
    """Give those annotations that the reader understands."""
    return {name: hint for name, hint in argument_kinds(build).items() if _is_readable(hint)}


def _is_readable(kind: Any) -> bool:
    """Tell whether the reader understands an annotation; constructors have others, too."""
    base, _ = taken_apart(kind)
    if get_origin(base) is Mapping:
        return True
    if is_list(base) or alternatives_of(base):
        return all(_is_readable(part) for part in get_args(base) if part is not ...)
    return base in LEAVES or base is type(None) or get_origin(base) is Literal
