"""Figures of a validation as files that other programs read: JSON of the last one, CSV of all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.data.task import AVERAGE
from dinoir_plugin.imaging.formats import split_name

WITHOUT_TASK = 'all'
INPUT = 'input'
INPUT_COLUMN = f'{INPUT}_'  # before a metric's name, where the degraded images have a column of their own
COLUMNS = ('iteration', 'task', 'name', INPUT)  # beside the metrics
Table = Mapping[str, Mapping[str, float]]


class Measured(NamedTuple):
    """Hold the metrics of an image.

    Attributes:
        number: Its place in the data set.
        task: Its task, empty where the data set has none.
        name: Of its file.
        values: Metric to value.
        kept: Metric of a set to what it keeps of the image.
        input: Metric to the value of the degraded image itself; empty where it was not measured.
    """

    number: int
    task: str
    name: str
    values: dict[str, float]
    kept: Mapping[str, Any] = {}
    input: Mapping[str, float] = {}


class Figures(NamedTuple):
    """Hold the means of a data set.

    Attributes:
        means: Task to metric to its mean over the restored images.
        input: The same of the degraded images themselves, of those metrics that were taken of them.
    """

    means: Table
    input: Table = MappingProxyType({})


def average(table: Table) -> dict[str, float]:
    """Give the mean over tasks, each of which counts the same, of every metric that all of them have."""
    rows = list(table.values())
    names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def write(
    folder: Path,
    name: str,
    iteration: int | str,
    figures: Figures,
    images: Sequence[Measured],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write ``metrics_<name>.json`` with every image, and add the means to ``metrics_<name>.csv``.

    A line of the CSV is an iteration, a task (or ``average``) and a column for each metric, empty where it was not
    taken; ``input_<metric>`` is that of the degraded images. Lines of this iteration and of later ones, which a run
    that was resumed measures again, are replaced.

    Args:
        folder: Of the run.
        name: The data set's.
        iteration: The iteration, or in a test the run's name.
        figures: The means.
        images: All that were measured.
        about: What made the figures, see :func:`~dinoir_plugin.models.provenance.about`; values that JSON has.

    Raises:
        FileError: A file cannot be written.
    """
    rows, of_input = _rows(figures.means), _rows(figures.input)
    content = {
        'iteration': iteration,
        **({'about': about} if about else {}),
        'means': {task: for_json(row) for task, row in rows.items()},
        **({INPUT: {task: for_json(row) for task, row in of_input.items()}} if of_input else {}),
        'images': [_entry(image, name) for image, name in zip(images, _names(images))],
    }
    write_atomic(folder / f'metrics_{name}.json', (json.dumps(content, indent=1) + '\n').encode())
    lines = [
        {
            'iteration': iteration,
            'task': task,
            **row,
            **{f'{INPUT_COLUMN}{metric}': value for metric, value in of_input.get(task, {}).items()},
        }
        for task, row in rows.items()
    ]
    _add_lines(folder / f'metrics_{name}.csv', iteration, lines)


def _rows(table: Table) -> dict[str, dict[str, float]]:
    """Give the rows of a file: the tasks and their average; none where there is no figure."""
    whole = average(table)
    return {**{task or WITHOUT_TASK: dict(row) for task, row in table.items()}, AVERAGE: whole} if whole else {}


def _entry(image: Measured, name: str) -> dict[str, Any]:
    of_input = {INPUT: for_json(image.input)} if image.input else {}
    return {'task': image.task, 'name': name, **for_json(image.values), **of_input}


def _names(images: Sequence[Measured]) -> list[str]:
    """Name images without ending, as folder and LMDB may differ in it; whole where two of a task would collide."""
    stems = [(image.task, split_name(image.name)[0]) for image in images]
    counts = Counter(stems)
    return [stem[1] if counts[stem] == 1 else image.name for stem, image in zip(stems, images)]


def _add_lines(path: Path, iteration: int | str, lines: Sequence[Mapping[str, Any]]) -> None:
    earlier = _earlier(path, iteration)
    # a run that goes on may have other metrics than before
    columns = dict.fromkeys(column for line in [*earlier[:1], *lines] for column in line)
    stream = io.StringIO()
    table = csv.DictWriter(stream, list(columns), lineterminator='\n')
    table.writeheader()
    table.writerows([*earlier, *lines])
    write_atomic(path, stream.getvalue().encode())


def for_json(values: Mapping[str, float]) -> dict[str, float | None]:
    """Give None for the infinite PSNR of equal images, for which JSON has no number."""
    return {metric: value if math.isfinite(value) else None for metric, value in values.items()}


def _earlier(path: Path, iteration: int | str) -> list[dict[str, str]]:
    """Read the lines to keep: those of iterations before this one."""
    if not path.is_file():
        return []
    with path.open(newline='', encoding='utf-8') as file:
        table = csv.DictReader(file)
        if isinstance(iteration, str):
            return [line for line in table if line['iteration'] != iteration]
        return [line for line in table if line['iteration'].isdigit() and int(line['iteration']) < iteration]
