"""Write numbers and sizes in messages so that they say what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def size_text(shape: Sequence[int]) -> str:
    """Write height and width in the order people say them: ``640x480`` is 640 wide."""
    return f'{shape[1]}x{shape[0]}'


def bound_text(value: float) -> str:
    """Write a bound in full, a whole number without decimals."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def told_apart(one: float, other: float, write: Callable[[float, int], str]) -> tuple[str, str]:
    """Write two numbers with as many digits as make them different.

    Args:
        one: A number.
        other: The one that it is compared with.
        write: Takes a number and how many decimals it is written with.
    """
    texts = '', ''
    for digits in range(1, 17):
        texts = write(one, digits), write(other, digits)
        if texts[0] != texts[1]:
            break
    return texts
