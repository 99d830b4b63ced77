"""Figures that others published: data with a source, never ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.variants import HERE, read_yaml

FILE = HERE / 'published.yml'
Cell = Sequence[float | None]


class Source(NamedTuple):
    """Hold one published table.

    Attributes:
        source: Paper and table.
        note: What is different there; may be empty.
        figures: Row to test to a value for each of the table's metrics, None where there is none.
    """

    source: str
    note: str
    figures: Mapping[str, Mapping[str, Cell]]


def read(table: str, about: Mapping[str, Any], metrics: Sequence[str], file: Path = FILE) -> list[Source]:
    """Read what was published for a table.

    Args:
        table: Its name.
        about: What ``experiments.yml`` says of it.
        metrics: Names of its metrics.
        file: Where the figures are.

    Raises:
        RunError: A row or test that the table does not have, a cell without a value for each metric, or a figure that
            two sources give.
    """
    sources = [
        Source(block['source'], block.get('note', ''), block.get('figures') or {})
        for block in read_yaml(file).get(table, [])
    ]
    rows = {', '.join(map(str, labels)) for *labels, _ in about['rows']}
    seen = set()
    for source in sources:
        for row, cells in source.figures.items():
            for test, cell in cells.items():
                place = f'{file.name}: {table}, {source.source}: {row}, {test}'
                if row not in rows or test not in about['tests']:
                    has = f'rows are {", ".join(sorted(rows))}, its tests {", ".join(about["tests"])}'
                    raise RunError(f'{place}: the table has no such row or test. Its {has}')
                if not _is_cell(cell, len(metrics)):
                    raise RunError(f'{place}: expected [{", ".join(metrics)}], ~ where there is none, got {cell!r}')
                if (row, test) in seen:
                    raise RunError(f'{place}: another source has this figure, too. Leave one of them out')
                seen.add((row, test))
    return sources


def cell(sources: Sequence[Source], row: str, test: str) -> Cell | None:
    """Give the values of one cell; None where nothing was published."""
    return next((source.figures[row][test] for source in sources if test in source.figures.get(row, {})), None)


def _is_cell(value: object, count: int) -> bool:
    is_list = isinstance(value, list) and len(value) == count
    return is_list and all(item is None or type(item) in (int, float) for item in value)  # type: ignore[attr-defined]
