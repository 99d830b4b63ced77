"""The one error type for what a user wrote: it names the option, what was expected, what came and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

SHOWN = 10  # words of a list


class OptionsError(ValueError):
    """A value in an options file that cannot be used.

    Args:
        path: The option's path, keys joined by dots, e.g. ``datasets.train.tasks.derain.dataroot_lq``.
        problem: What was expected and what was found, one sentence without a full stop.
        remedy: What to do about it, one sentence without a full stop.
    """

    def __init__(self, path: str, problem: str, remedy: str = '') -> None:
        self.path = path
        self.problem = problem
        self.remedy = remedy
        sentences = [part if part.endswith(('?', '.')) else f'{part}.' for part in (problem, remedy) if part]
        super().__init__(f'{path}: ' + ' '.join(sentences))

    def __reduce__(self) -> tuple[type[OptionsError], tuple[str, str, str]]:
        return type(self), (self.path, self.problem, self.remedy)

    def under(self, prefix: str) -> OptionsError:
        """Give the same error seen from further up: ``tasks.x`` becomes ``datasets.train.tasks.x``."""
        return OptionsError(f'{prefix}.{self.path}', self.problem, self.remedy)


def unknown_option(key: object, valid: Iterable[str], path: str) -> OptionsError:
    """Make the error for a key that nobody would read, naming the valid key closest to it."""
    return OptionsError(f'{path}.{key}' if path else str(key), 'unknown option', nearest(str(key), valid))


def missing_option(path: str, expected: str = '') -> OptionsError:
    """Make the error for a key that must be there."""
    return OptionsError(path, 'this key is required, but missing', f'Give {expected}' if expected else '')


def reject_unknown(options: Iterable[object], valid: Iterable[str], path: str) -> None:
    """Refuse the first key that nobody would read."""
    known = list(valid)
    for key in options:
        if key not in known:
            raise unknown_option(key, known, path)


@contextmanager
def under(prefix: str) -> Iterator[None]:
    """Put ``prefix`` in front of the path of every OptionsError raised inside."""
    try:
        yield
    except OptionsError as error:
        raise error.under(prefix) from error


def nearest(word: str, valid: Iterable[str]) -> str:
    """Name the valid word closest to ``word``, or the valid ones where none is close, ten of them at most.

    Returns:
        For instance ``did you mean 'sigma'?`` or ``valid: 'clip', 'sigma'``.
    """
    words = sorted(valid)
    more = f' and {len(words) - SHOWN} more' if len(words) > SHOWN else ''
    return close_to(word, words) or 'valid: ' + ', '.join(f"'{w}'" for w in words[:SHOWN]) + more


def close_to(word: str, valid: Iterable[str]) -> str:
    """Name the valid word closest to ``word``; an empty text where none is close."""
    words = sorted(valid)
    close = [w for w in words if w.lower() == word.lower()] or difflib.get_close_matches(word, words, n=1)
    return f"did you mean '{close[0]}'?" if close else ''
