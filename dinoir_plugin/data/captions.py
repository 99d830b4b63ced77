"""Captions of images: a table of file and title, separated by a tab; a title is ``<caption>: <task>``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.imaging.formats import composed, split_name
from dinoir_plugin.imaging.paths import written_path

if TYPE_CHECKING:
    from dinoir_plugin.data.task import Task

COLUMNS = ('filepath', 'title')
BEFORE_WORD = ': '
SHOWN = 3
REMEDY = 'dinoir prepare captions writes such a file'


class Caption(NamedTuple):
    """Hold a line of the table.

    Attributes:
        file: Path of the degraded image, or of the clean one where the degraded one is made.
        text: What is to be seen in the clean image.
        word: The image's task.
        line: Number of the line, from 1.
    """

    file: str
    text: str
    word: str
    line: int = 0


def read_captions(value: object, option: str) -> list[Caption]:
    """Read a table of captions.

    Args:
        value: Path of the file, as the options say it.
        option: Their path, for errors.

    Raises:
        OptionsError: There is no such file, or it is no such table; it names the line.
    """
    path = written_path(value) if isinstance(value, str) and value else None
    if path is None or not path.is_file():
        raise OptionsError(option, f'no such file: {value}', REMEDY)
    try:
        rows = csv.reader(io.StringIO(path.read_text(encoding='utf-8-sig'), newline=''), delimiter='\t')
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            problem = f'{path}, line 1: expected the columns {" and ".join(COLUMNS)}, tab-separated, got {header}'
            raise OptionsError(option, problem, REMEDY)
        return [_caption(row, rows.line_num, path, option) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise OptionsError(option, f'{path} cannot be read as a table ({error})', 'Save it as UTF-8') from error


def _caption(row: Sequence[str], line: int, path: Path, option: str) -> Caption:
    if len(row) != len(COLUMNS):
        problem = f'{path}, line {line}: expected a file and a title, separated by a tab, got {len(row)} columns'
        raise OptionsError(option, problem)
    text, *words = row[1].split(BEFORE_WORD)
    if len(words) != 1:
        problem = f"{path}, line {line}: expected '<caption>: <word>', with one '{BEFORE_WORD}', got {row[1]!r:.80}"
        raise OptionsError(option, problem)
    return Caption(row[0], text, words[0], line)


def write_captions(path: Path, captions: Iterable[Caption]) -> None:
    """Write a table that :func:`read_captions` reads.

    Raises:
        FileError: It cannot be written.
    """
    stream = io.StringIO(newline='')
    table = csv.writer(stream, delimiter='\t', lineterminator='\n')
    table.writerow(COLUMNS)
    table.writerows((one.file, f'{one.text}{BEFORE_WORD}{one.word}') for one in captions)
    write_atomic(path, stream.getvalue().encode())


def captions_of(tasks: Sequence[Task], value: object, option: str = 'captions') -> list[list[str]]:
    """Find the caption of every image of every task, by the names of files, wherever their folders lie.

    Args:
        tasks: Of a data set.
        value: Path of the table.
        option: The option's path, for errors.

    Returns:
        For each task a list in the order of its images.

    Raises:
        OptionsError: As :func:`read_captions`; a word that no task is called by; an image with two captions or none.
    """
    captions = read_captions(value, option)
    names = [task.name for task in tasks]
    for one in captions:
        if one.word not in names:
            problem = f"{value}, line {one.line}: no task is called '{one.word}'"
            raise OptionsError(option, problem, nearest(one.word, names))
    return [_of_task(task, [one for one in captions if one.word == task.name], f'{value}', option) for task in tasks]


def _of_task(task: Task, captions: Sequence[Caption], file: str, option: str) -> list[str]:
    keys = [task.seen(number) for number in range(len(task))]
    # an LMDB's keys may hold folders
    tables = {depth: _by_name(captions, depth, file, option) for depth in {key.count('/') for key in keys}}
    found = [tables[key.count('/')].get(key) for key in keys]
    missing = [key for key, text in zip(keys, found) if text is None]
    if missing:
        shown = ', '.join(missing[:SHOWN]) + (', ...' if len(missing) > SHOWN else '')
        problem = f"{len(missing)} images of task '{task.name}' have no caption in {file}: {shown}"
        raise OptionsError(option, problem, REMEDY)
    return [text for text in found if text is not None]


def _by_name(captions: Sequence[Caption], depth: int, file: str, option: str) -> dict[str, str]:
    """Give captions by name without extension, with so many of the folders before it."""
    table: dict[str, str] = {}
    for one in captions:
        parts = split_name(one.file.replace('\\', '/'))[0].split('/')
        key = composed('/'.join(parts[-depth - 1 :]))
        if table.setdefault(key, one.text) != one.text:
            problem = f"{file}, line {one.line}: '{key}' of task '{one.word}' has another caption above"
            raise OptionsError(option, problem, 'Keep one of them')
    return table
