"""Give what others published for the tests of the package's small model: data with a source, never ours."""

from __future__ import annotations

from functools import cache

from dinoir_plugin.experiments import published
from dinoir_plugin.experiments.variants import Experiments

# test here to table of experiments.yml, row and test there, and the network's name
PLACES = {
    'CBSD68, noise 15': ('table2', 'Restormer', 'noise15', 'Restormer'),
    'CBSD68, noise 25': ('table2', 'Restormer', 'noise25', 'Restormer'),
    'CBSD68, noise 50': ('table2', 'Restormer', 'noise50', 'Restormer'),
    'Rain100L, 30 images': ('table5', 'V0, no guidance', 'rain100l', 'Restormer'),
}
NOTE = (
    'Published by others, none measured here: networks for that task alone, many times as large, in the all-in-one '
    "papers' convention. Theirs for rain is of all 100 images of Rain100L's test set, 30 of which are the test here. "
    'For JPEG and blur of CBSD68 and for 12 images of SOTS-indoor no figure with a source is at hand. '
)


def public(test: str) -> str:
    """Give the published figure for a test; empty where there is none."""
    if test not in PLACES:
        return ''
    table, row, column, network = PLACES[test]
    cell = published.cell(_sources(table), row, column)
    if cell is None:
        return ''
    return f'{network} ' + ' / '.join(str(value) for value in cell.values if value is not None)


def sources() -> str:
    """Name where the figures come from."""
    lines = []
    for table, row, column, network in PLACES.values():
        source = next(s for s in _sources(table) if column in s.figures.get(row, {}))
        lines.append(f'{network}, {column}: {source.source}.{" " if source.note else ""}{source.note}')
    return NOTE + ' '.join(dict.fromkeys(lines))


@cache
def _sources(table: str) -> list[published.Source]:
    experiments = Experiments()
    return published.read(experiments, table, experiments.tables[table].get('metrics', ['psnr', 'ssim']))
