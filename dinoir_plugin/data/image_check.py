"""A look at every picture before a long run: sizes by header, and one picture of each task decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from dinoir_plugin.data.task import Task, size_text
from dinoir_plugin.errors import OptionsError

# Above this many pictures the check takes long enough for people to wonder.
SHOW_PROGRESS_ABOVE = 5000
_THREADS = 8


def check_tasks(tasks: Sequence[Task], least: int) -> None:
    """Check the pictures of a data set.

    Args:
        tasks: Its tasks.
        least: The least height and width that a picture must have.

    Raises:
        OptionsError: Names up to three pictures of a task that are too small, differ in size from their partner or
            cannot be read.
    """
    total = sum(len(task) for task in tasks)
    with ThreadPoolExecutor(_THREADS) as pool, tqdm(
        total=total, desc='checking pictures', unit='picture', disable=total <= SHOW_PROGRESS_ABOVE
    ) as bar:
        for task in tasks:
            _raise_first(task, _count(pool.map(lambda number, task=task: problem(task, number, least),
                                               range(len(task))), bar))
            _decode_one(task)


def problem(task: Task, number: int, least: int) -> str | None:
    """What is wrong with an item of a task, going by headers only; None where nothing is."""
    pair = task.pairs[number]
    gt_path = task.gt.path(pair.gt)
    try:
        size = task.gt.size(pair.gt)
        if min(size) < least:
            return f'{gt_path} is {size_text(size)}, smaller than gt_size {least}'
        for source, partner in ((task.lq, pair.lq), (task.depth, pair.depth)):
            if source is not None and partner is not None and source.size(partner) != size:
                return (f'{source.path(partner)} is {size_text(source.size(partner))}, '
                        f'but {gt_path} is {size_text(size)}')
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _count(problems: Iterable[str | None], bar: tqdm) -> Iterator[str]:
    for entry in problems:
        bar.update()
        if entry is not None:
            yield entry


def _raise_first(task: Task, problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        shown = '; '.join(found[:3]) + ('; ...' if len(found) > 3 else '')
        raise OptionsError(task.path, f'{len(found)} of {len(task)} pictures cannot be used: {shown}')


def _decode_one(task: Task) -> None:
    pair = task.pairs[0]
    try:
        for source, number in ((task.gt, pair.gt), (task.lq, pair.lq)):
            if source is not None and number is not None:
                task.decode(source, number)
        if task.depth is not None and pair.depth is not None:
            task.depth.depth(pair.depth)
    except (OSError, ValueError) as error:
        raise OptionsError(task.path, f'the first picture cannot be read: {error}') from error
