"""The error of this package: something about the release or the place to write to that a person has to mend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class PreparationError(ValueError):
    """A data set that cannot be prepared: says what was expected, what was found and what to do."""


def shortened(names: Sequence[str], shown: int = 3) -> str:
    """Join the first few names, with dots where there are more."""
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '')


def all_listed(heading: str, problems: Iterable[str]) -> PreparationError:
    """Make one error of many problems, a line each."""
    return PreparationError('\n  '.join([heading, *problems]))
