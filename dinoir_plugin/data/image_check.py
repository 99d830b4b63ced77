"""Looks at every image before a long run: by their headers in a moment, or decoded in full."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.data.depth import DepthSource
from dinoir_plugin.data.sources import Source
from dinoir_plugin.data.task import Task
from dinoir_plugin.imaging.decoding import Array

# Above this many images the check takes long enough for people to wonder.
SHOW_PROGRESS_ABOVE = 5000
_THREADS = 8
# Executor.map makes an object for each item before it begins; there may be a million items.
_AT_ONCE = 4096

Size = tuple[int, int]
_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


class Decoded(NamedTuple):
    """Hold what is known of a decoded file.

    Attributes:
        size: Height and width.
        kind: Such as ``8 bit`` or ``16 bit grey``; empty for a depth map.
    """

    size: Size
    kind: str


class Survey(NamedTuple):
    """Hold what a look at all items of a task found.

    Attributes:
        smallest, largest: Sizes of the clean images by their number of pixels; None where none can be read.
        bad_items: How many items cannot be used.
        problems: One sentence for each bad file or pair, each once, with the file's name.
    """

    smallest: Size | None
    largest: Size | None
    bad_items: int
    problems: list[str]


def check_tasks(tasks: Sequence[Task], least: int) -> None:
    """Check the images of a data set by their headers, and decode the first ones of each task.

    Args:
        tasks: Its tasks.
        least: The least height and width that an image must have.

    Raises:
        OptionsError: Names up to three images of a task that are too small, differ in size from their partner or
            cannot be read.
    """
    total = sum(len(task) for task in tasks)
    with tqdm(total=total, desc='checking images', unit='image', disable=total <= SHOW_PROGRESS_ABOVE) as bar:
        for task in tasks:
            refuse_bad(task, survey(task, least, bar=bar))
            decode_first(task)


def survey(
    task: Task, least: int, look: Callable[[Source, int], Size] | None = None, bar: tqdm | None = None
) -> Survey:
    """Look at every item of a task.

    Args:
        task: The task.
        least: The least height and width that an image must have.
        look: From a file to its height and width, with OSError or ValueError where it cannot be used; by the header
            where None.
        bar: Counts the items.
    """
    look = look or (lambda source, number: source.size(number))
    sizes: set[Size] = set()
    bad_items = 0
    problems: dict[str, None] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for size, found in _spread(pool, lambda number: _look_at(task, number, least, look), range(len(task))):
            if size is not None:
                sizes.add(size)
            bad_items += bool(found)
            problems.update(dict.fromkeys(found))
            if bar is not None:
                bar.update()
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    smallest, largest = (ordered[0], ordered[-1]) if ordered else (None, None)
    return Survey(smallest, largest, bad_items, list(problems))


def refuse_bad(task: Task, found: Survey) -> None:
    """Raise an OptionsError that names up to three of the problems, where there are any."""
    if found.problems:
        shown = '; '.join(found.problems[:3]) + ('; ...' if len(found.problems) > 3 else '')
        raise OptionsError(task.path, f'{found.bad_items} of {len(task)} images cannot be used: {shown}')


def decode_first(task: Task) -> list[Decoded]:
    """Decode the files of a task's first item; raise an OptionsError where that fails."""
    try:
        return [_decode(source, number) for source, number in _files(task, 0)]
    except (OSError, ValueError) as error:
        raise OptionsError(task.path, f'the first image cannot be read: {error}') from error


def decode_all(tasks: Iterable[Task]) -> dict[str, Decoded | str]:
    """Decode every file of some tasks once, on all cores, with a progress bar.

    Returns:
        By the file's path (`Source.path`) what it is, or a sentence about what is wrong with it.
    """
    files = {source.path(number): (source, number)
             for task in tasks for item in range(len(task)) for source, number in _files(task, item)}
    results: dict[str, Decoded | str] = {}
    # The first file of each folder alone: an LMDB must not be opened by two threads at once.
    first = {source.root: path for path, (source, _) in files.items()}
    with tqdm(total=len(files), desc='decoding images', unit='image') as bar:
        for path in first.values():
            results[path] = _decode_or_say(files.pop(path))
            bar.update()
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for path, result in zip(files, _spread(pool, _decode_or_say, list(files.values()))):
                results[path] = result
                bar.update()
    return results


def size_in(decoded: Mapping[str, Decoded | str]) -> Callable[[Source, int], Size]:
    """Make what `survey` takes as ``look``, from what `decode_all` found."""

    def look(source: Source, number: int) -> Size:
        found = decoded[source.path(number)]
        if isinstance(found, str):
            raise ValueError(found)
        return found.size

    return look


def kinds_in(decoded: Mapping[str, Decoded | str], task: Task) -> list[str]:
    """List the kinds (see `Decoded`) that a task's files have, each once, in order."""
    found = [decoded[source.path(number)] for item in range(len(task)) for source, number in _files(task, item)]
    return sorted({entry.kind for entry in found if isinstance(entry, Decoded)})


def _spread(pool: Executor, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    for start in range(0, len(items), _AT_ONCE):
        yield from pool.map(work, items[start : start + _AT_ONCE])


def _files(task: Task, item: int) -> list[tuple[Source, int]]:
    """List the files of an item, the clean one first."""
    pair = task.pairs[item]
    files = ((task.gt, pair.gt), (task.lq, pair.lq), (task.depth, pair.depth), (task.medium, pair.medium))
    return [(source, number) for source, number in files if source is not None and number is not None]


def _look_at(
    task: Task, item: int, least: int, look: Callable[[Source, int], Size]
) -> tuple[Size | None, list[str]]:
    """Give the size of an item's clean image, None where it cannot be read, and what is wrong with the item's files."""
    size: Size | None = None
    problems: list[str] = []
    gt_path = task.gt.path(task.pairs[item].gt)
    for source, number in _files(task, item):
        try:
            found = look(source, number)
        except (OSError, ValueError) as error:
            problems.append(str(error))
            continue
        if source is task.gt:
            size = found
            if min(size) < least:
                problems.append(f'{gt_path} is {size_text(size)}, smaller than gt_size {least}')
            problems += filter(None, (degradation.refusal(*size) for degradation in task.chain))
        elif size is not None and found != size:
            problems.append(f'{source.path(number)} is {size_text(found)}, but {gt_path} is {size_text(size)}')
    return size, problems


def _decode(source: Source, number: int) -> Decoded:
    image: Array
    if isinstance(source, DepthSource):
        image, kind = source.depth(number), ''
    else:
        image = Task.decode(source, number)
        kind = f'{8 * image.dtype.itemsize} bit' + (' grey' if image.ndim == 2 else '')
    return Decoded((image.shape[0], image.shape[1]), kind)


def _decode_or_say(file: tuple[Source, int]) -> Decoded | str:
    try:
        return _decode(*file)
    except (OSError, ValueError) as error:
        return str(error)
