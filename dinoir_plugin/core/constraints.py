"""What an option's annotation may say beside its type: ``Annotated[int, AtLeast(1)]``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dinoir_plugin.core.wording import bound_text


class Constraint:
    """Restrict values of the right type; everything is allowed by default."""

    def converted(self, value: Any) -> Any:
        """Give the value that is meant, before its type is looked at."""
        return value

    def allows(self, value: Any) -> bool:
        """Tell whether a value, of the right type, may be used."""
        return True

    def words(self, kind: str) -> str:
        """Say what is expected, from the words for the type alone."""
        return kind

    def problem(self, value: Any, expected: str) -> str:
        """Say what is wrong with a value that is not allowed."""
        return f'expected {expected}, got {value!r}'


@dataclass(frozen=True)
class AtLeast(Constraint):
    """Allow numbers from ``low`` up."""

    low: float

    def allows(self, value: Any) -> bool:
        """Tell whether it is large enough."""
        return bool(value >= self.low)

    def words(self, kind: str) -> str:
        """Say the bound."""
        return f'{kind} of at least {bound_text(self.low)}'


@dataclass(frozen=True)
class From(AtLeast):
    """Allow whole numbers from ``low`` up, or any, with the shorter words for it."""

    low: float = -math.inf

    def words(self, kind: str) -> str:
        """Say the bound, where there is one."""
        return kind if self.low == -math.inf else f'{kind} from {bound_text(self.low)}'


@dataclass(frozen=True)
class Above(Constraint):
    """Allow numbers larger than ``low``."""

    low: float

    def allows(self, value: Any) -> bool:
        """Tell whether it is larger."""
        return bool(value > self.low)

    def words(self, kind: str) -> str:
        """Say the bound."""
        return f'{kind} above {bound_text(self.low)}'


@dataclass(frozen=True)
class Within(Constraint):
    """Allow numbers from ``low`` to ``high``."""

    low: float
    high: float

    def allows(self, value: Any) -> bool:
        """Tell whether it lies between the bounds or on one."""
        return bool(self.low <= value <= self.high)

    def words(self, kind: str) -> str:
        """Say the bounds."""
        return f'{kind} from {bound_text(self.low)} to {bound_text(self.high)}'


@dataclass(frozen=True)
class Words(Constraint):
    """Give other words for what is expected."""

    text: str

    def words(self, kind: str) -> str:
        """Give the text."""
        return self.text


@dataclass(frozen=True)
class Filled(Constraint):
    """Allow lists and blocks that are not empty, with other words for what is expected or none."""

    text: str = ''

    def allows(self, value: Any) -> bool:
        """Tell whether anything is inside."""
        return len(value) > 0

    def words(self, kind: str) -> str:
        """Give the text."""
        return self.text or kind


class FolderName(Constraint):
    """Allow names of runs, data sets and tasks: each becomes one folder of a path and must not lead out of it."""

    def allows(self, value: Any) -> bool:
        """Tell whether it names one folder."""
        return value not in ('', '.', '..') and not re.search(r'[/\\\x00]', value)

    def words(self, kind: str) -> str:
        """Say so."""
        return 'the name of a folder, not a path'


class BareOff(Constraint):
    """Take false for ``off``: YAML 1.1 reads it so where it stands bare."""

    def converted(self, value: Any) -> Any:
        """Give ``off`` for false."""
        return 'off' if value is False else value


@dataclass(frozen=True, eq=False)
class Holds(Constraint):
    """Say what stands inside a block, for the reference of the options; whoever builds it checks the block.

    Attributes:
        build: The class or function whose arguments are the block's keys.
        given: Arguments that are not the user's to give.
        more: Keys that stand there beside, with what they mean.
    """

    build: Callable[..., Any]
    given: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)
