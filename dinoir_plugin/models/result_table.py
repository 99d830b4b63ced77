"""The figures of a test run as one table, to read and to copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.markdown import table
from dinoir_plugin.data.task import AVERAGE
from dinoir_plugin.models.provenance import in_one_line
from dinoir_plugin.models.results import INPUT, Figures, Table

FILE = 'results.md'
NONE = '-'  # where a metric was not taken, or gives no number, as FID of one image


def write_results(folder: Path, sets: Mapping[str, Figures], facts: Mapping[str, Any]) -> None:
    """Write ``results.md``: a row a metric and one for the input, a column a data set, and their average.

    A set of several tasks has a column for each, ``<set>/<task>``; every column counts the same in the average.

    Args:
        folder: Of the run.
        sets: Name of each set to its figures, one at least.
        facts: What made them, see :func:`~dinoir_plugin.models.provenance.about`.

    Raises:
        FileError: The file cannot be written.
    """
    restored = _columns({name: figures.means for name, figures in sets.items()})
    of_input = _columns({name: figures.input for name, figures in sets.items()})
    rows = []
    for metric in dict.fromkeys(metric for column in restored.values() for metric in column):
        rows.append([metric, *_cells(metric, restored, restored)])
        if any(metric in column for column in of_input.values()):
            rows.append([f'{metric}, {INPUT}', *_cells(metric, of_input, restored)])
    text = f'{table(["", *restored, AVERAGE], rows)}\n{in_one_line(facts)}\n'
    write_atomic(folder / FILE, text.encode())


def _columns(sets: Mapping[str, Table]) -> dict[str, Mapping[str, float]]:
    return {
        f'{name}/{task}' if len(tasks) > 1 else name: row for name, tasks in sets.items() for task, row in tasks.items()
    }


def _cells(metric: str, values: Table, columns: Table) -> list[str]:
    found = [values.get(column, {}).get(metric) for column in columns]
    numbers = [value for value in found if value is not None]
    mean = sum(numbers) / len(numbers) if len(numbers) == len(found) else None
    return [NONE if value is None or math.isnan(value) else f'{value:.4f}' for value in (*found, mean)]
