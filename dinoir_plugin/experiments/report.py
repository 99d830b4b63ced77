"""Tables in Markdown: ours beside what was published, in columns of their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path

from dinoir_plugin.core.machine import machine
from dinoir_plugin.core.markdown import table as markdown_table
from dinoir_plugin.experiments import degraded, published
from dinoir_plugin.experiments.measured import FOLDER, Figure, RunError, figures, result_file
from dinoir_plugin.experiments.runs import jobs
from dinoir_plugin.experiments.variants import TASKS, Experiments, folder_name
from dinoir_plugin.experiments.wording import encoders, length

NOT_BUILT = 'not built here'
NOTHING = '–'
DEFAULT_METRICS = ['psnr', 'ssim']
# metric name in the options to its digits
DIGITS = {'psnr': 2, 'ssim': 4, 'psnr_all_in_one': 2, 'ssim_all_in_one': 4}
CONVENTIONS = {
    'psnr': "BasicSR's PSNR and SSIM: 8 bits, RGB, Gaussian windows.",
    'psnr_all_in_one': "The all-in-one papers' PSNR and SSIM: floats, RGB, sides cropped to multiples of 16.",
}


class TableRow:
    """Hold one line of a table.

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
        """Give the measured figure; None where there is none."""
        return figures(self.names, test, metric) if self.run is not None else None


def folders(run: str | None, budget: str, seeds: int) -> list[str]:
    """Name a run's folders, one for each seed."""
    return [folder_name(budget, str(run), seed) for seed in range(seeds)]


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
    rows = [TableRow(cells, budget, seeds) for cells in about['rows']]
    inputs = TableRow([degraded.LABEL, degraded.LABEL], budget, seeds=1)
    inputs.names = [degraded.folder_name(budget)]
    tests = [test for test in about['tests'] if test in size['tests']]
    for row in rows:
        trained = set(experiments.runs.get(str(row.run), {}).get('tasks', TASKS))
        row.untrained = [test for test in tests if not trained & set(size['tests'][test])]
    sources = published.read(table, about, metrics)
    trainings = [job.training for job in jobs(experiments, table, budget, 1, None)]
    over = 'One seed' if seeds == 1 else f'Mean over {seeds} seeds, ± the standard deviation between them'
    parts = [
        f'# {table}: {about["title"]}\n',
        f'{size["note"]} {length(trainings[0])} {encoders(trainings)}\n',
        f'{CONVENTIONS[metrics[0]]} {over}. The last column is the mean of the others.\n',
        _circumstances(table, budget, seeds, ' --data FOLDER' if 'layout' in size else ''),
        '## Ours\n',
        _overview([inputs, *rows], tests, metrics),
        *_gaps(table, budget, rows, tests),
    ]
    if 'against' in about:
        parts += _gains(rows, tests, metrics[0], about['against'], budget)
    if len(tests) < len(about['tests']):
        left_out = ', '.join(test for test in about['tests'] if test not in tests)
        parts.append(f'Not measured, as this budget has no images for it: {left_out}.\n')
    if sources:
        parts += _side_by_side(rows, tests, metrics, sources, comparable=budget == 'full')
    return '\n'.join(parts)


def _gaps(table: str, budget: str, rows: Sequence[TableRow], tests: Sequence[str]) -> list[str]:
    """Write a sentence on runs that lack figures, where there are some."""
    names = [name for row in rows if row.run is not None for name in row.names]
    lacking = [name for name in names if not all(result_file(name, test).is_file() for test in tests)]
    if not any(result_file(name, test).is_file() for name in names for test in tests):
        raise RunError(f'{table}: nothing has been measured with budget {budget}. Run it first')
    return [f'Without all figures, and so with dashes: {", ".join(lacking)}.\n'] if lacking else []


def _circumstances(table: str, budget: str, seeds: int, data: str) -> str:
    where = machine()
    command = f'dinoir reproduce run {table} --budget {budget}{data}'
    command += f' --seeds {seeds}' if seeds > 1 else ''
    return (
        f'`{command}`, reported on {where["cores"]} cores of {where["cpu"]}, Python {where["python"]}, '
        f'PyTorch {where["torch"]}, BasicSR {version("basicsr")}.\n'
    )


def _overview(rows: Sequence[TableRow], tests: Sequence[str], metrics: Sequence[str]) -> str:
    """Write one line a method, one column a test: PSNR/SSIM."""
    lines = []
    for row in rows:
        if row.run is None:
            lines.append([row.label, NOT_BUILT, *[''] * len(tests)])
            continue
        cells = [' / '.join(_text(row.cell(test, metric), metric) for metric in metrics) for test in tests]
        cells = [f'({cell})' if test in row.untrained else cell for test, cell in zip(tests, cells)]
        trained = [test for test in tests if test not in row.untrained]
        lines.append([row.label, *cells, _mean(row, trained, metrics)])
    brackets = '\nIn brackets: tasks that the network was not trained for, left out of its mean.\n'
    return markdown_table(['', *tests, 'mean'], lines) + (brackets if any(row.untrained for row in rows) else '')


def _mean(row: TableRow, tests: Sequence[str], metrics: Sequence[str]) -> str:
    """Take the mean over the tests, all of one weight; with several seeds the spread is that of the mean."""
    texts = []
    for metric in metrics:
        cells = [[figures([name], test, metric) for test in tests] for name in row.names]
        means = [_mean_of([cell.mean if cell else None for cell in of_a_seed]) for of_a_seed in cells]
        texts.append(_text(_figure(means), metric))
    return ' / '.join(texts)


def _gains(
    rows: Sequence[TableRow], tests: Sequence[str], metric: str, against: dict[str, str], budget: str
) -> list[str]:
    """Write what each row brings beside another one: the differences of pairs of runs that saw the same samples."""
    labels = {row.run: row.label for row in rows}
    lines = []
    for row in rows:
        if row.run not in against:
            continue
        bases = folders(against[row.run], budget, len(row.names))
        each = [[_difference(name, base, test, metric) for test in tests] for name, base in zip(row.names, bases)]
        columns = [*zip(*each), [_mean_of(values) for values in each]]
        cells = [_text(_figure(values), metric, sign='+') for values in columns]
        lines.append([row.label, labels[against[row.run]], *cells])
    heading = '## Gains in PSNR (dB), between runs of one seed, which saw the same samples\n'
    return [heading, markdown_table(['', 'against', *tests, 'mean'], lines)]


def _difference(name: str, base: str, test: str, metric: str) -> float | None:
    ours, theirs = figures([name], test, metric), figures([base], test, metric)
    return ours.mean - theirs.mean if ours and theirs else None


def _mean_of(values: Sequence[float | None]) -> float | None:
    figure = _figure(values)
    return figure.mean if figure else None


def _figure(values: Sequence[float | None]) -> Figure | None:
    """Take the figure of values of which none is missing."""
    known = [value for value in values if value is not None]
    return Figure.of(known) if len(known) == len(values) else None


def _side_by_side(
    rows: Sequence[TableRow],
    tests: Sequence[str],
    metrics: Sequence[str],
    sources: Sequence[published.Source],
    comparable: bool,
) -> list[str]:
    """Write for each test ours, the published figure and the difference, each in a column of its own."""
    parts = ['## Beside what was published\n']
    for source in sources:
        known = ', '.join(source.figures) or 'not entered in `dinoir_plugin/experiments/published.yml`'
        parts.append(f'- {source.source}: {known}.{f" {source.note}" if source.note else ""}')
    parts.append('')
    if not comparable:
        parts.append('Other images, networks and trainings than the published: no differences are taken.\n')
    names = [metric.split('_')[0].upper() for metric in metrics]
    heads = [f'{name} {column}' for name in names for column in ('ours', 'published', 'difference')]
    for test in tests:
        lines = []
        for row in rows:
            theirs = published.cell(sources, row.label, test) or [None] * len(metrics)
            trios = (_trio(row, test, *pair, comparable) for pair in zip(metrics, theirs))
            lines.append([row.label, *(cell for trio in trios for cell in trio)])
        parts += [f'### {test}\n', markdown_table(['', *heads], lines)]
    return parts


def _trio(row: TableRow, test: str, metric: str, theirs: float | None, comparable: bool) -> tuple[str, str, str]:
    """Write ours, in brackets where not trained for it; the published; the difference, where it says something."""
    ours = row.cell(test, metric)
    text = NOT_BUILT if row.run is None else _text(ours, metric)
    digits = min(DIGITS[metric], 3)
    both = comparable and ours is not None and theirs is not None and test not in row.untrained
    return (
        f'({text})' if test in row.untrained else text,
        NOTHING if theirs is None else f'{theirs:.{digits}f}',
        f'{ours.mean - theirs:+.{digits}f}' if both and ours and theirs is not None else NOTHING,
    )


def _text(figure: Figure | None, metric: str, sign: str = '') -> str:
    if figure is None:
        return NOTHING
    digits = DIGITS[metric]
    spread = '' if figure.spread is None else f' ± {figure.spread:.{digits}f}'
    return f'{figure.mean:{sign}.{digits}f}{spread}'
