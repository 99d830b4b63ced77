"""Figures of a validation as files that other programs read: JSON of the last one, CSV of all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.data.task import AVERAGE

WITHOUT_TASK = 'all'
COLUMNS = ('iteration', 'task', 'name')  # beside the metrics


class Measured(NamedTuple):
    """Hold the metrics of an image.

    Attributes:
        number: Its place in the data set.
        task: Its task, empty where the data set has none.
        name: Of its file.
        values: Metric to value.
        kept: Metric of a set to what it keeps of the image.
    """

    number: int
    task: str
    name: str
    values: dict[str, float]
    kept: Mapping[str, Any] = {}


def write(
    folder: Path,
    name: str,
    iteration: int | str,
    means: Mapping[str, Mapping[str, float]],
    images: Sequence[Measured],
) -> None:
    """Write ``metrics_<name>.json`` with every image, and add the means to ``metrics_<name>.csv``.

    A line of the CSV is an iteration, a task (or ``average``) and a column for each metric, empty where it was not
    taken. Lines of this iteration and of later ones, which a run that was resumed measures again, are replaced.

    Args:
        folder: Of the run.
        name: The data set's.
        iteration: The iteration, or in a test the run's name.
        means: Task to metric to its mean.
        images: All that were measured.

    Raises:
        FileError: A file cannot be written.
    """
    rows = {task or WITHOUT_TASK: dict(table) for task, table in means.items()}
    metrics = list(next(iter(means.values())))
    rows[AVERAGE] = {metric: sum(table[metric] for table in means.values()) / len(means) for metric in metrics}
    per_image = [{'task': image.task, 'name': image.name, **for_json(image.values)} for image in images]
    finite = {task: for_json(row) for task, row in rows.items()}
    content = {'iteration': iteration, 'means': finite, 'images': per_image}
    write_atomic(folder / f'metrics_{name}.json', (json.dumps(content, indent=1) + '\n').encode())

    path = folder / f'metrics_{name}.csv'
    earlier = _earlier(path, iteration)
    # a run that goes on may have other metrics than before
    columns = dict.fromkeys(['iteration', 'task', *(column for line in earlier[:1] for column in line), *metrics])
    stream = io.StringIO()
    table = csv.DictWriter(stream, list(columns), lineterminator='\n')
    table.writeheader()
    table.writerows([*earlier, *({'iteration': iteration, 'task': task, **row} for task, row in rows.items())])
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
