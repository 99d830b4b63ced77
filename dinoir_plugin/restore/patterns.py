"""Patterns such as ``photos/**/*.jpg``, matched on the same walk through folders as a folder itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from pathlib import Path

from dinoir_plugin.imaging.formats import composed
from dinoir_plugin.imaging.paths import Found, walk, written_path

WILDCARDS = '*?['
ANY_FOLDERS = '**'


def is_pattern(text: str) -> bool:
    """Tell whether a text has one of the wildcards ``*``, ``?`` and ``[``."""
    return any(mark in text for mark in WILDCARDS)


def find_matching(
    pattern: str, enters: Callable[[Path], bool], refuse: Callable[[OSError], None]
) -> tuple[Path, list[Found]]:
    """List what a pattern matches below its first wildcard; arguments as of ``imaging.paths.walk``.

    Returns:
        The folder before the first wildcard, and the files, with the problems of links that are none.
    """
    parts = Path(os.path.expanduser(pattern)).parts
    first = next(number for number, part in enumerate(parts) if is_pattern(part))
    base = written_path(Path(*parts[:first])) if first else Path()
    wanted = parts[first:]
    tests = [None if part == ANY_FOLDERS else re.compile(translate(composed(part))) for part in wanted]

    def below(folder: Path) -> bool:
        return (None in tests or len(_parts(folder, base)) < len(tests)) and enters(folder)

    found = walk(base, below, refuse) if base.is_dir() else ()
    return base, [entry for entry in found if _matches(_parts(entry.path, base), tests)]


def _parts(path: Path, base: Path) -> list[str]:
    return [composed(part) for part in path.relative_to(base).parts]


def _matches(parts: Sequence[str], tests: Sequence[re.Pattern[str] | None]) -> bool:
    """Tell whether folders and name fit; None stands for any number of folders."""
    if not tests:
        return not parts
    if tests[0] is None:
        # a pattern that ends so means all files
        return len(tests) == 1 or any(_matches(parts[skip:], tests[1:]) for skip in range(len(parts)))
    return bool(parts) and tests[0].match(parts[0]) is not None and _matches(parts[1:], tests[1:])
