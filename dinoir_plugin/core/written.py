"""Numbers of an options file that remember how they were written: a run called ``007`` or ``1_2`` keeps its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# YAML 1.2's numbers; YAML 1.1 wants a point and a sign as well, and reads 1e-4 as text
EXPONENT = re.compile(r'[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+')


class WrittenInt(int):
    """Hold a whole number and its text in the file."""

    text: str

    def __new__(cls, value: int, text: str = '') -> WrittenInt:
        """Make it from both; the value's own text where none is given."""
        number = super().__new__(cls, value)
        number.text = text or str(int(value))
        return number


class WrittenFloat(float):
    """Hold a number and its text in the file."""

    text: str

    def __new__(cls, value: float, text: str = '') -> WrittenFloat:
        """Make it from both; the value's own text where none is given."""
        number = super().__new__(cls, value)
        number.text = text or str(float(value))
        return number


def as_written(value: Any) -> str:
    """Give the text of a name, also where YAML took it for a number."""
    return value.text if isinstance(value, (WrittenInt, WrittenFloat)) else str(value)


def plain(value: Any) -> Any:
    """Give the same value with ordinary numbers in it."""
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, (WrittenInt, WrittenFloat)):
        return int(value) if isinstance(value, int) else float(value)
    return value
