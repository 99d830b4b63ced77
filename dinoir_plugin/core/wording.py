"""Write numbers and sizes in messages so that they say what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

GIGA = 10**9


def size_text(shape: Sequence[int]) -> str:
    """Write height and width in the order people say them: ``640x480`` is 640 wide."""
    return f'{shape[1]}x{shape[0]}'


def byte_text(number: float, digits: int = 1) -> str:
    """Write a number of bytes in GB, a small one in MB."""
    return f'{number / GIGA:.{digits}f} GB' if number >= GIGA / 10 else f'{number / GIGA * 1000:.{digits}f} MB'


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
