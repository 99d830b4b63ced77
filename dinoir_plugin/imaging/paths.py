"""Paths as people write them, and walks through folders: one rule for links, wherever images are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple
from unicodedata import normalize

DEAD = 'the link leads nowhere'
LOOP = 'the link leads back to a folder that it lies in; what is there is taken once'


class Found(NamedTuple):
    """Hold a file of a folder, or a link that is none.

    Attributes:
        path: Where it lies, below the folder that was asked for.
        problem: Empty for a file; else why there is none.
    """

    path: Path
    problem: str = ''


def written_path(text: str | Path) -> Path:
    """Give the path that a person means: as it is written where there is one, else with ``~`` put in full.

    Where there is neither, the letters are taken composed and decomposed: macOS writes accents apart.
    """
    expanded = os.path.expanduser(text)
    for form in (text, expanded, normalize('NFC', expanded), normalize('NFD', expanded)):
        if os.path.lexists(form):
            return Path(form)
    return Path(expanded)


def image_name(path: str | Path) -> str:
    """Name an image by its file, without folders and ending, wherever it lies; keys of an LMDB are names as well."""
    return PurePath(path).stem


def walk(folder: Path, enters: Callable[[Path], bool], refuse: Callable[[OSError], None]) -> Iterator[Found]:
    """Walk through all files below a folder in the order of their names, hidden ones left out.

    Links are followed: one to a file is that file, one to a folder is that folder. A link back to a folder that it lies
    in is not entered; it is given with its problem, as is one that leads nowhere.

    Args:
        folder: Where to begin.
        enters: Asked for each folder whether it is entered.
        refuse: Called with the error where a folder cannot be read.
    """
    yield from _walk(folder, (os.path.realpath(folder),), enters, refuse)


def _walk(
    folder: Path, above: tuple[str, ...], enters: Callable[[Path], bool], refuse: Callable[[OSError], None]
) -> Iterator[Found]:
    try:
        with os.scandir(folder) as listed:
            entries = sorted((entry for entry in listed if not entry.name.startswith('.')), key=lambda e: e.name)
    except OSError as error:
        refuse(error)
        return
    folders = []
    for entry in entries:
        path = folder / entry.name
        if is_dead(entry):
            yield Found(path, DEAD)
        elif entry.is_dir():
            folders.append((path, entry.is_symlink()))
        else:
            yield Found(path)
    for path, is_link in folders:
        place = os.path.realpath(path)
        if is_link and place in above:
            yield Found(path, LOOP)
        elif enters(path):
            yield from _walk(path, (*above, place), enters, refuse)


def is_dead(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of a folder is a link that leads nowhere, or round in a circle."""
    return entry.is_symlink() and not os.path.exists(entry.path)
