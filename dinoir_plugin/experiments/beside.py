"""Our figures beside published ones, in columns of their own."""

from __future__ import annotations

from collections.abc import Sequence

from dinoir_plugin.core.markdown import table as markdown_table
from dinoir_plugin.experiments import published
from dinoir_plugin.experiments.table_rows import NOT_BUILT, NOTHING, TableRow, digits_of, text

SECOND, SUSPECT = ' (2nd)', ' (?)'


def side_by_side(
    rows: Sequence[TableRow],
    tests: Sequence[str],
    metrics: Sequence[str],
    sources: Sequence[published.Source],
    comparable: bool,
) -> list[str]:
    """Write for each test ours, the published figure and, where it says something, the difference, in columns.

    Args:
        rows: Of the table.
        tests: Its columns.
        metrics: Their names.
        sources: What was published.
        comparable: Whether differences say something.
    """
    parts = ['## Beside what was published\n']
    for source in sources:
        parts.append(f'- {source.source}: {", ".join(source.figures)}.{f" {source.note}" if source.note else ""}')
    parts.append('')
    if not comparable:
        parts.append('Other images, networks and trainings than the published: no differences are taken.\n')
    cells = [cell for source in sources for row in source.figures.values() for cell in row.values()]
    if any(cell.second for cell in cells):
        parts.append(f'{SECOND.strip()}: underlined in the paper, its second best.\n')
    names = [f'{metric.split("_")[0].upper()}{" (Y)" if metric.endswith("_y") else ""}' for metric in metrics]
    columns = ('ours', 'published', 'difference') if comparable else ('ours', 'published')
    heads = [f'{name} {column}' for name in names for column in columns]
    compared = [test for test in tests if any(published.cell(sources, row.label, test) for row in rows)]
    if alone := [test for test in tests if test not in compared]:
        parts.append(f'Nothing was published for {", ".join(alone)}.\n')
    for test in compared:
        lines = []
        for row in rows:
            theirs = published.cell(sources, row.label, test)
            trios = (_trio(row, test, metric, theirs, place, comparable) for place, metric in enumerate(metrics))
            lines.append([row.label, *(cell for trio in trios for cell in trio[: len(columns)])])
        parts += [f'### {test}\n', markdown_table(['', *heads], lines)]
    if suspect := published.remarks(sources):
        parts += [f'{SUSPECT.strip()}: suspect, so no difference is taken but of a mean.\n',
                  *(f'- {line}' for line in suspect), '']  # fmt: skip
    return parts


def _trio(
    row: TableRow, test: str, metric: str, cell: published.Cell | None, place: int, comparable: bool
) -> tuple[str, str, str]:
    """Write ours, in brackets where not trained for it; the published; the difference, where it says something."""
    ours, theirs = row.cell(test, metric), cell.values[place] if cell else None
    words = NOT_BUILT if row.run is None else text(ours, metric)
    words = f'({words})' if test in row.untrained else words
    if cell is None or theirs is None:
        return words, NOTHING, NOTHING
    digits = min(digits_of(metric), 3)
    printed = f'{theirs:.{digits}f}{SECOND if cell.second else ""}{SUSPECT if cell.remark else ""}'
    usable = comparable and test not in row.untrained and (not cell.remark or test == published.MEAN)
    return words, printed, f'{ours.mean - theirs:+.{digits}f}' if usable and ours is not None else NOTHING
