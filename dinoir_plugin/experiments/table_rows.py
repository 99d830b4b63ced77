"""A table's lines: what was measured for each, as text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dinoir_plugin.experiments.measured import Figure, figures
from dinoir_plugin.experiments.published import MEAN
from dinoir_plugin.experiments.variants import folder_name

NOT_BUILT = 'not built here'
NOTHING = '–'
# by what a metric's name begins with; others have OTHER_DIGITS
DIGITS = {'psnr': 2, 'ssim': 4, 'lpips': 3, 'fid': 2}
OTHER_DIGITS = 4


class TableRow:
    """Hold one line of a table.

    Attributes:
        label: What the table calls it.
        run: Its run; None: not built.
        names: The run's folders, one for each seed.
        tests: Those that count for its mean.
        untrained: Tests of tasks that its training did not have.
    """

    def __init__(self, cells: Sequence[str | None], budget: str, seeds: int, tests: Sequence[str] = ()) -> None:
        *labels, self.run = cells
        self.label = ', '.join(str(label) for label in labels)
        self.names = folders(self.run, budget, seeds)
        self.tests = tests
        self.untrained: Collection[str] = ()

    def cell(self, test: str, metric: str) -> Figure | None:
        """Give the measured figure; None where there is none. Tests have one weight in their mean."""
        if self.run is None:
            return None
        if test != MEAN:
            return figures(self.names, test, metric)
        # with several seeds the spread is that of the mean
        cells = [[figures([name], test, metric) for test in self.tests] for name in self.names]
        return figure_of([mean_of([cell.mean if cell else None for cell in of_a_seed]) for of_a_seed in cells])


def folders(run: str | None, budget: str, seeds: int) -> list[str]:
    """Name a run's folders, one for each seed."""
    return [folder_name(budget, str(run), seed) for seed in range(seeds)]


def mean_of(values: Sequence[float | None]) -> float | None:
    """Take the mean of values of which none is missing."""
    figure = figure_of(values)
    return figure.mean if figure else None


def figure_of(values: Sequence[float | None]) -> Figure | None:
    """Take the figure of values of which none is missing."""
    known = [value for value in values if value is not None]
    return Figure.of(known) if len(known) == len(values) else None


def digits_of(metric: str) -> int:
    """Give the number of digits that a metric is written with."""
    return next((digits for name, digits in DIGITS.items() if metric.startswith(name)), OTHER_DIGITS)


def text(figure: Figure | None, metric: str, sign: str = '') -> str:
    """Write a figure, with its spread where there is one."""
    if figure is None:
        return NOTHING
    digits = digits_of(metric)
    spread = '' if figure.spread is None else f' ± {figure.spread:.{digits}f}'
    return f'{figure.mean:{sign}.{digits}f}{spread}'
