"""Readers of single options: each returns the checked value or raises `OptionsError` with the option's path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dinoir_plugin.core.errors import OptionsError, nearest


def join(path: str, key: object) -> str:
    """``tasks.denoise`` and ``sigma`` make ``tasks.denoise.sigma``; an empty path adds nothing."""
    return f'{path}.{key}' if path else str(key)


def mapping(value: object, path: str) -> dict[str, Any]:
    """A block of options."""
    if not isinstance(value, Mapping) or not value:
        raise OptionsError(path, f'expected a block of options, got {value!r}')
    return dict(value)


def integer(value: object, path: str, low: int) -> int:
    """A whole number of at least ``low``; true and false do not count as numbers."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise OptionsError(path, f'expected a whole number of at least {low}, got {value!r}')
    return value


def number(value: object, path: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        # YAML 1.1 takes 1e-3 (no dot) for a string: the one trap worth a hint.
        raise OptionsError(path, f'expected a number, got {value!r}', 'Write 1.0e-3 rather than 1e-3'
                           if isinstance(value, str) else '')
    return float(value)


def positive(value: object, path: str) -> float:
    """A finite number above zero."""
    checked = number(value, path)
    if checked <= 0:
        raise OptionsError(path, f'expected a number above 0, got {value!r}')
    return checked


def number_range(
    value: object, path: str, low: float = -math.inf, high: float = math.inf, above_low: bool = False
) -> tuple[float, float]:
    """A number, or two numbers ``[from, to]``, inside ``[low, high]``.

    Args:
        value: What the options file says.
        path: The option's path, for the error.
        low: The smallest allowed value.
        high: The largest allowed value.
        above_low: Whether ``low`` itself is forbidden.

    Returns:
        Both ends; equal where a single number was given.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise OptionsError(path, f'expected a number or two numbers [from, to], got {value!r}')
        first, last = number(value[0], path), number(value[1], path)
    else:
        first = last = number(value, path)
    if first > last:
        raise OptionsError(path, f'expected [from, to] with from <= to, got {value!r}')
    if first < low or last > high or (above_low and first == low):
        bound = f'above {low:g}' if above_low else f'of at least {low:g}'
        if high < math.inf:
            bound += f' and of at most {high:g}'
        raise OptionsError(path, f'expected values {bound}, got {value!r}')
    return first, last


def flag(value: object, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise OptionsError(path, f'expected true or false, got {value!r}')
    return value


def choice(value: object, path: str, valid: Sequence[str]) -> str:
    """One of the words in ``valid``."""
    if not isinstance(value, str) or value not in valid:
        raise OptionsError(path, f'expected one of {", ".join(valid)}, got {value!r} ({nearest(str(value), valid)})')
    return value
