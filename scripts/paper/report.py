"""Tables in Markdown: ours beside what was published, in columns of their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.machine import machine
from scripts.paper import degraded
from scripts.paper.runs import FOLDER, Figure, figures
from scripts.paper.variants import HERE, TASKS, Experiments, folder_name, read_yaml

NOT_BUILT = 'not built here'
NOTHING = '–'
DEFAULT_METRICS = ['psnr', 'ssim']
# metric name in the options to its digits
DIGITS = {'psnr': 2, 'ssim': 4, 'psnr_all_in_one': 2, 'ssim_all_in_one': 4}
CONVENTIONS = {
    'psnr': "BasicSR's PSNR and SSIM: 8 bits, RGB, Gaussian windows.",
    'psnr_all_in_one': "The all-in-one papers' PSNR and SSIM: floats, RGB, sides cropped to multiples of 16.",
}


class Row:
    """One line of a table.

    Attributes:
        label: What the table calls it.
        run: Its run; None: not built.
        names: The run's folders, one for each seed.
        untrained: Tests of tasks that its training did not have.
    """

    def __init__(self, cells: Sequence[str | None], budget: str, seeds: int) -> None:
        *labels, self.run = cells
        self.label = ', '.join(str(label) for label in labels)
        self.names = folders(self.run, budget, seeds)
        self.untrained: Collection[str] = ()

    def cell(self, test: str, metric: str) -> Figure | None:
        """The measured figure; None where there is none."""
        return figures(self.names, test, metric) if self.run is not None else None


def folders(run: str | None, budget: str, seeds: int) -> list[str]:
    """A run's folders, one for each seed."""
    return [folder_name(budget, str(run), seed) for seed in range(seeds)]


def write(experiments: Experiments, table: str, budget: str, seeds: int) -> Path:
    """Write ``<table>_<budget>.md`` from the figures that there are.

    Returns:
        Its path.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f'{table}_{budget}.md'
    path.write_text(markdown(experiments, table, budget, seeds), encoding='utf-8')
    return path


def markdown(experiments: Experiments, table: str, budget: str, seeds: int) -> str:
    """The report's text."""
    about, size = experiments.tables[table], experiments.budgets[budget]
    metrics = about.get('metrics', DEFAULT_METRICS)
    rows = [Row(cells, budget, seeds) for cells in about['rows']]
    inputs = Row([degraded.LABEL, degraded.LABEL], budget, seeds=1)
    inputs.names = [degraded.folder_name(budget)]
    tests = [test for test in about['tests'] if test in size['tests']]
    left_out = [test for test in about['tests'] if test not in size['tests']]
    for row in rows:
        trained = set(experiments.runs.get(str(row.run), {}).get('tasks', TASKS))
        row.untrained = [test for test in tests if not trained & set(size['tests'][test])]
    published = read_yaml(HERE / 'published.yml').get(table) or {}
    parts = [
        f'# {table}: {about["title"]}\n',
        f'{size["note"]} {CONVENTIONS[metrics[0]]} Mean over {seeds} seed{"s" if seeds > 1 else ""}'
        f'{", ± the standard deviation between them" if seeds > 1 else ""}.\n',
        _circumstances(table, budget, seeds, ' --data FOLDER' if 'layout' in size else ''),
        '## Ours\n',
        _overview([inputs, *rows], tests, metrics),
    ]
    if 'against' in about:
        parts += _gains(rows, tests, metrics[0], about['against'], budget)
    if left_out:
        parts.append(f'Not measured, as this budget has no pictures for it: {", ".join(left_out)}.\n')
    if published:
        parts += _side_by_side(rows, tests, metrics, published, comparable=budget == 'full')
    return '\n'.join(parts)


def _circumstances(table: str, budget: str, seeds: int, data: str) -> str:
    where = machine()
    command = f'python scripts/reproduce.py run {table} --budget {budget}{data}'
    command += f' --seeds {seeds}' if seeds > 1 else ''
    return (
        f'`{command}`, reported on {where["cores"]} cores of {where["cpu"]}, Python {where["python"]}, '
        f'PyTorch {where["torch"]}, BasicSR {version("basicsr")}.\n'
    )


def _overview(rows: Sequence[Row], tests: Sequence[str], metrics: Sequence[str]) -> str:
    """One line a method, one column a test: PSNR/SSIM."""
    lines = [f'| | {" | ".join(tests)} | mean |', '|---' * (len(tests) + 2) + '|']
    for row in rows:
        if row.run is None:
            lines.append(f'| {row.label} | {NOT_BUILT} ' + '| ' * len(tests) + '|')
            continue
        cells = [' / '.join(_text(row.cell(test, metric), metric) for metric in metrics) for test in tests]
        cells = [f'({cell})' if test in row.untrained else cell for test, cell in zip(tests, cells)]
        trained = [test for test in tests if test not in row.untrained]
        lines.append(f'| {row.label} | {" | ".join(cells)} | {_mean(row, trained, metrics)} |')
    if any(row.untrained for row in rows):
        lines.append('\nIn brackets: tasks that the network was not trained for, left out of its mean.')
    return '\n'.join(lines) + '\n'


def _mean(row: Row, tests: Sequence[str], metrics: Sequence[str]) -> str:
    """Over the tests, each of which counts the same; with several seeds the spread is that of the mean."""
    texts = []
    for metric in metrics:
        cells = [[figures([name], test, metric) for test in tests] for name in row.names]
        means = [_mean_of([cell.mean if cell else None for cell in of_a_seed]) for of_a_seed in cells]
        texts.append(_text(_figure(means), metric))
    return ' / '.join(texts)


def _gains(
    rows: Sequence[Row], tests: Sequence[str], metric: str, against: dict[str, str], budget: str
) -> list[str]:
    """What each row brings beside another one: the differences of pairs of runs that saw the same samples."""
    labels = {row.run: row.label for row in rows}
    lines = [f'| | against | {" | ".join(tests)} | mean |', '|---' * (len(tests) + 3) + '|']
    for row in rows:
        if row.run not in against:
            continue
        bases = folders(against[row.run], budget, len(row.names))
        each = [[_difference(name, base, test, metric) for test in tests] for name, base in zip(row.names, bases)]
        columns = [*zip(*each), [_mean_of(values) for values in each]]
        cells = [_text(_figure(values), metric, sign='+') for values in columns]
        lines.append(f'| {row.label} | {labels[against[row.run]]} | {" | ".join(cells)} |')
    return ['## Gains in PSNR (dB), between runs of one seed, which saw the same samples\n', '\n'.join(lines) + '\n']


def _difference(name: str, base: str, test: str, metric: str) -> float | None:
    ours, theirs = figures([name], test, metric), figures([base], test, metric)
    return ours.mean - theirs.mean if ours and theirs else None


def _mean_of(values: Sequence[float | None]) -> float | None:
    figure = _figure(values)
    return figure.mean if figure else None


def _figure(values: Sequence[float | None]) -> Figure | None:
    """Of values of which none is missing."""
    known = [value for value in values if value is not None]
    return Figure.of(known) if len(known) == len(values) else None


def _side_by_side(
    rows: Sequence[Row], tests: Sequence[str], metrics: Sequence[str], published: dict[str, Any], comparable: bool
) -> list[str]:
    """For each test ours, the published figure and the difference, each in a column of its own."""
    known = published.get('figures') or {}
    parts = ['## Beside what was published\n', f'Published: {published["source"]}.']
    if 'note' in published:
        parts.append(published['note'])
    if not known:
        parts.append('Its figures have not been entered in `scripts/paper/published.yml`, so those columns are empty.')
    if not comparable:
        parts.append('Other pictures, networks and trainings than the published: no differences are taken.')
    parts[-1] += '\n'
    names = [metric.split('_')[0].upper() for metric in metrics]
    heads = [f'{name} {column}' for name in names for column in ('ours', 'published', 'difference')]
    for test in tests:
        lines = [f'### {test}\n', f'| | {" | ".join(heads)} |', '|---' * (len(heads) + 1) + '|']
        for row in rows:
            theirs = (known.get(row.label) or {}).get(test)
            cells = []
            for place, metric in enumerate(metrics):
                ours = row.cell(test, metric)
                digits = DIGITS[metric]
                cells.append(NOT_BUILT if row.run is None else _text(ours, metric))
                cells.append(f'{theirs[place]:.{min(digits, 3)}f}' if theirs else NOTHING)
                both = comparable and ours and theirs
                cells.append(f'{ours.mean - theirs[place]:+.{min(digits, 3)}f}' if both and ours else NOTHING)
            lines.append(f'| {row.label} | {" | ".join(cells)} |')
        parts.append('\n'.join(lines) + '\n')
    return parts


def _text(figure: Figure | None, metric: str, sign: str = '') -> str:
    if figure is None:
        return NOTHING
    digits = DIGITS[metric]
    spread = '' if figure.spread is None else f' ± {figure.spread:.{digits}f}'
    return f'{figure.mean:{sign}.{digits}f}{spread}'
