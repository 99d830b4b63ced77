"""Figures that others published: data with a source, never ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.variants import FIRST, PAPERS, Experiments, read_yaml

FOLDER = PAPERS / FIRST / 'published'  # tables as printed
MEAN = 'mean'  # of a table's tests, where it has such a column


class Cell(NamedTuple):
    """Hold one published figure.

    Attributes:
        values: One for each of the table's metrics, None where there is none.
        second: Whether the paper marks it as its second best.
        remark: Why it is suspect; empty where it is not.
    """

    values: tuple[float | None, ...]
    second: bool = False
    remark: str = ''


class Source(NamedTuple):
    """Hold one published table.

    Attributes:
        source: Paper and table.
        note: What is different there; may be empty.
        figures: Row to test to figure.
    """

    source: str
    note: str
    figures: Mapping[str, Mapping[str, Cell]]


def read(experiments: Experiments, table: str, metrics: Sequence[str], papers: Path = PAPERS) -> list[Source]:
    """Read what was published for a table.

    Args:
        experiments: Of the table's paper.
        table: Its name.
        metrics: Names of its metrics.
        papers: Has a folder a paper, with ``published.yml``, which says which figures stand where.

    Raises:
        RunError: A row or test that the table does not have, a cell without a value for each metric, or a figure in
            which two sources differ.
    """
    file = papers / experiments.paper / 'published.yml'
    content = read_yaml(file)
    sources = []
    for block in content['tables'].get(table, []):
        figures: dict[str, dict[str, Cell]] = {}
        found = _of_file(block, content.get('columns', {}), metrics) if 'file' in block else _inline(block)
        for row, test, cell in found:
            figures.setdefault(row, {})[test] = cell
        name = block.get('source') or _printed(block, content['papers'])
        sources.append(Source(name, block.get('note', ''), figures))
    _check(f'{file.name}: {table}', experiments.tables[table], metrics, sources)
    return sources


def cell(sources: Sequence[Source], row: str, test: str) -> Cell | None:
    """Give one cell; None where nothing was published."""
    return next((source.figures[row][test] for source in sources if test in source.figures.get(row, {})), None)


def remarks(sources: Sequence[Source]) -> list[str]:
    """Write what makes figures suspect, one line each."""
    return [
        f'{row}, {test}: {cell.remark}'
        for source in sources for row, cells in source.figures.items() for test, cell in cells.items() if cell.remark
    ]  # fmt: skip


def stability() -> dict[str, float]:
    """Give the paper's variance of PSNR over noise levels, in dB^2: of DINO's feature, patch embedding and image."""
    settings = read_yaml(FOLDER / 'dinoir_settings.yml')
    return settings['reported_analysis']['psnr_variance_over_noise_levels']


def _printed(block: Mapping[str, Any], papers: Mapping[str, str]) -> str:
    arxiv = read_yaml(FOLDER / f'{block["file"]}.yml')['paper']['arxiv']
    return f'{papers[block["file"]]} (arXiv {arxiv}), Table {block["table"]}'


def _inline(block: Mapping[str, Any]) -> Iterator[tuple[str, str, Cell]]:
    for row, cells in (block.get('figures') or {}).items():
        for test, found in cells.items():
            about = found if isinstance(found, dict) else {'values': found}
            values = about['values']
            yield row, test, Cell(tuple(values) if isinstance(values, list) else (values,),
                                  remark=about.get('remark', ''))  # fmt: skip


def _of_file(
    block: Mapping[str, Any], columns: Mapping[str, str], metrics: Sequence[str]
) -> Iterator[tuple[str, str, Cell]]:
    """Give the cells of a table as printed, rows and columns called as here; printed dashes are left out."""
    content = read_yaml(FOLDER / f'{block["file"]}.yml')
    number, rows = block['table'], block.get('rows', {})
    suspect = {
        (entry['row'], entry['column']): entry['remark']
        for entry in content['suspect_cells'] if entry['table'] == number
    }  # fmt: skip
    for entry in content['cells']:
        if entry['table'] != number or entry['psnr'] is None:
            continue
        row, test = rows.get(entry['row'], entry['row']), columns.get(entry['column'], entry['column'])
        if 'test' in block:
            row, test = f'{block["columns"][entry["column"]]}, {row}', block['test']
        values = tuple(entry[metric.split('_')[0]] for metric in metrics)
        remark = suspect.get((entry['row'], entry['column']), '')
        yield row, test, Cell(values, entry.get('mark') == 'second', remark)


def _check(place: str, about: Mapping[str, Any], metrics: Sequence[str], sources: Sequence[Source]) -> None:
    rows = {', '.join(map(str, labels)) for *labels, _ in about['rows']}
    tests = [*about['tests'], *([MEAN] if about.get('mean') else [])]
    seen: dict[tuple[str, str], Cell] = {}
    for source in sources:
        for row, cells in source.figures.items():
            for test, found in cells.items():
                where = f'{place}, {source.source}: {row}, {test}'
                if row not in rows or test not in tests:
                    has = f'rows are {", ".join(sorted(rows))}, its tests {", ".join(tests)}'
                    raise RunError(f'{where}: the table has no such row or test. Its {has}')
                if len(found.values) != len(metrics) or not all(map(_is_figure, found.values)):
                    got = list(found.values)
                    raise RunError(f'{where}: expected [{", ".join(metrics)}], ~ where there is none, got {got!r}')
                if seen.setdefault((row, test), found).values != found.values:
                    raise RunError(f'{where}: another source has another figure. Leave one of them out')


def _is_figure(value: object) -> bool:
    return value is None or type(value) in (int, float)
