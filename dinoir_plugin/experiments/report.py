"""Tables in Markdown: ours beside what was published, in columns of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dinoir_plugin.core.machine import machine
from dinoir_plugin.core.markdown import table as markdown_table
from dinoir_plugin.core.version import __version__
from dinoir_plugin.experiments import cost, degraded, published
from dinoir_plugin.experiments.beside import side_by_side
from dinoir_plugin.experiments.measured import FOLDER, RunError, figures, result_file
from dinoir_plugin.experiments.published import MEAN
from dinoir_plugin.experiments.runs import jobs
from dinoir_plugin.experiments.table_rows import NOT_BUILT, NOTHING, TableRow, figure_of, folders, mean_of, text
from dinoir_plugin.experiments.variants import Experiments
from dinoir_plugin.experiments.wording import encoders, lengths

DEFAULT_METRICS = ['psnr', 'ssim']


def path_of(what: str, budget: str, seeds: int, suffix: str) -> Path:
    """Say where the report or image of a table or figure goes."""
    return FOLDER / f'{what}_{budget}{f"_{seeds}seeds" if seeds > 1 else ""}{suffix}'


def write(experiments: Experiments, table: str, budget: str, seeds: int) -> Path:
    """Write a table's report from the figures that there are.

    Returns:
        Its path.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = path_of(table, budget, seeds, '.md')
    path.write_text(markdown(experiments, table, budget, seeds), encoding='utf-8')
    return path


def markdown(experiments: Experiments, table: str, budget: str, seeds: int) -> str:
    """Write the report's text.

    Raises:
        RunError: Nothing has been measured, the table is not for this budget, or published figures do not fit it.
    """
    about, size = experiments.tables[table], experiments.budgets[budget]
    metrics = about.get('metrics', DEFAULT_METRICS)
    tests = [test for test in about['tests'] if test in size['tests']]
    columns = [*tests, MEAN] if about.get('mean') else tests
    rows = _rows(experiments, table, budget, seeds, tests)
    sources = published.read(experiments, table, metrics)
    trainings = {job.run: job.training for job in jobs(experiments, table, budget, 1, None) if job.learns}
    over = 'One seed.' if seeds == 1 else f'Mean over {seeds} seeds, ± the standard deviation between them.'
    over += ' The last column is the mean of the others.' if MEAN in columns else ''
    parts = [
        f'# {table}: {about["title"]}\n',
        f'{size["note"]} {lengths(_labelled(trainings, rows))} {encoders(trainings.values())}\n',
        f'{experiments.conventions[metrics[0]]} {over}\n',
        _circumstances(table, budget, seeds, ' --data FOLDER' if 'layout' in size else ''),
        f'![An image of each test before and after]({path_of(table, budget, seeds, ".png").name})\n',
        '## Ours\n',
        _overview(rows, columns, metrics, _costs(experiments, rows, budget)),
        *_notes(experiments, rows),
        *_gaps(table, budget, rows[1:], tests, about.get('own_tests', False)),
    ]
    if 'against' in about:
        parts += _gains(rows, columns, metrics[0], about['against'], budget, seeds)
    if len(tests) < len(about['tests']):
        left_out = ', '.join(test for test in about['tests'] if test not in tests)
        parts.append(f'Not measured, as this budget has no images for it: {left_out}.\n')
    if sources:
        parts += side_by_side(rows[1:], columns, metrics, sources, comparable=budget == 'full')
    return '\n'.join(parts)


def _rows(
    experiments: Experiments, table: str, budget: str, seeds: int, tests: Sequence[str]
) -> list[TableRow]:
    """Give the line of the degraded images, then those of the table."""
    inputs = TableRow([degraded.LABEL, degraded.LABEL], budget, seeds=1, tests=tests)
    inputs.names = [degraded.folder_name(experiments, budget)]
    rows = [TableRow(cells, budget, seeds) for cells in experiments.tables[table]['rows']]
    tasks = experiments.budgets[budget]['tests']
    for row in rows:
        trained = set(experiments.tasks_of(row.run))
        row.untrained = [test for test in tests if not trained & set(tasks[test])]
        row.tests = [test for test in tests if test not in row.untrained]
        if row.run is not None and not experiments.learns(row.run):
            row.names = row.names[:1]
    return [inputs, *rows]


def _labelled(trainings: Mapping[str, dict[str, Any]], rows: Sequence[TableRow]) -> dict[str, dict[str, Any]]:
    """Call trainings as the table does; one that another begins with by the name of its run."""
    labels = {row.run: row.label for row in rows}
    return {labels.get(run, run): training for run, training in trainings.items()}


def _notes(experiments: Experiments, rows: Sequence[TableRow]) -> list[str]:
    """Write what a reader has to know of single rows."""
    about = {row.label: experiments.runs.get(str(row.run), {}).get('note') for row in rows}
    lines = [f'- {label}: {note}.' for label, note in about.items() if note]
    return ['\n'.join([*lines, ''])] if lines else []


def _gaps(table: str, budget: str, rows: Sequence[TableRow], tests: Sequence[str], own: bool) -> list[str]:
    """Write a sentence on runs that lack figures, where there are some; ``own``: of tests of their own tasks."""
    wanted = {
        name: [test for test in tests if not own or test not in row.untrained]
        for row in rows if row.run is not None for name in row.names
    }  # fmt: skip
    lacking = [name for name in wanted if not all(result_file(name, test).is_file() for test in wanted[name])]
    if not any(result_file(name, test).is_file() for name in wanted for test in tests):
        raise RunError(f'{table}: nothing has been measured with budget {budget}. Run it first')
    return [f'Without all figures, and so with dashes: {", ".join(lacking)}.\n'] if lacking else []


def _circumstances(table: str, budget: str, seeds: int, data: str) -> str:
    where = machine()
    command = f'dinoir reproduce run {table} --budget {budget}{data}'
    command += f' --seeds {seeds}' if seeds > 1 else ''
    return (
        f'`{command}`, reported on {where["cores"]} cores of {where["cpu"]}, Python {where["python"]}, '
        f'PyTorch {where["torch"]}, BasicSR {version("basicsr")}, dinoir_plugin {__version__}.\n'
    )


def _costs(experiments: Experiments, rows: Sequence[TableRow], budget: str) -> list[tuple[str, ...]]:
    """Write each row's parameters and time of training; empty cells where no row's are known."""
    cells = []
    for row in rows:
        about = experiments.runs.get(str(row.run), {})
        before = folders(about['after'], budget, len(row.names)) if 'after' in about else []
        cells.append(cost.cells(row.names, before) if row.run in experiments.runs else ('', ''))
    known = any(cell not in ('', NOTHING) for pair in cells for cell in pair)
    return [cells_of_row if known else () for cells_of_row in cells]


def _overview(
    rows: Sequence[TableRow], columns: Sequence[str], metrics: Sequence[str], costs: Sequence[Sequence[str]]
) -> str:
    """Write one line a method, one column a test: PSNR/SSIM; then what the method costs, where that is known."""
    lines = []
    for row, paid in zip(rows, costs):
        if row.run is None:
            lines.append([row.label, NOT_BUILT, *[''] * (len(columns) - 1), *paid])
            continue
        cells = [' / '.join(text(row.cell(test, metric), metric) for metric in metrics) for test in columns]
        lines.append([row.label, *(f'({cell})' if test in row.untrained else cell
                                   for test, cell in zip(columns, cells)), *paid])  # fmt: skip
    brackets = '\nIn brackets: tasks that the network was not trained for, left out of a mean.\n'
    heads = ['', *columns, *(cost.HEADS if costs[0] else ())]
    below = f'\n{cost.NOTE}\n' if costs[0] else ''
    return markdown_table(heads, lines) + (brackets if any(row.untrained for row in rows) else '') + below


def _gains(
    rows: Sequence[TableRow], columns: Sequence[str], metric: str, against: dict[str, str], budget: str, seeds: int
) -> list[str]:
    """Write what each row brings beside another one: the differences of pairs of runs that saw the same samples."""
    labels = {row.run: row.label for row in rows}
    lines = []
    for row in rows:
        if row.run not in against:
            continue
        bases = folders(against[row.run], budget, len(row.names))
        tests = [test for test in columns if test != MEAN]
        each = [[_difference(name, base, test, metric) for test in tests] for name, base in zip(row.names, bases)]
        gains = [*zip(*each), [mean_of(values) for values in each]]
        cells = [text(figure_of(values), metric, sign='+') for values in gains[: len(columns)]]
        lines.append([row.label, labels[against[row.run]], *cells])
    if all(cell == NOTHING for line in lines for cell in line[2:]):
        return ['Gains: none, as no two runs that are held against each other have figures.\n']
    heading = '## Gains in PSNR (dB), between runs of the same seed, which saw the same samples\n'
    # what a difference of single trainings is worth is in no column of the table
    alone = ['One seed: another training may show another difference, and how much another is not known.\n']
    return [heading, *(alone if seeds == 1 else []), markdown_table(['', 'against', *columns], lines)]


def _difference(name: str, base: str, test: str, metric: str) -> float | None:
    ours, theirs = figures([name], test, metric), figures([base], test, metric)
    return ours.mean - theirs.mean if ours and theirs else None
