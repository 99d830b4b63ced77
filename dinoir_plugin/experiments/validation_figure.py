"""Validation over the iterations of trainings, a panel for each set."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dinoir_plugin.data.task import AVERAGE
from dinoir_plugin.experiments.figure_style import new_figure, save, stroke
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.run_results import Group

IN_A_ROW = 2  # panels
MARKER = 4  # points; a long training has many validations
INPUT = 'input_'  # before a metric's column: that of the degraded images
Points = list[tuple[int, float]]  # iteration and value
Tables = dict[str, list[dict[str, str]]]  # set to lines of its CSV


def draw(groups: Sequence[Group], metrics: Sequence[str], out: Path) -> None:
    """Draw a curve for each run; runs of one group, which differ by seed, have one colour.

    Across, the iteration; up, the first metric that all sets have (or the one that is asked for), averaged over the
    set's tasks.

    Args:
        groups: The runs.
        metrics: The first one is drawn; none: the first that there is.
        out: The PNG file.

    Raises:
        RunError: No run has validations of a training, or none of that metric.
    """
    tables = {run.folder: _tables(run.folder) for group in groups for run in group.runs}
    metric = _metric(tables, metrics)
    curves = _curves(groups, tables, metric)
    if not curves:
        raise RunError(f"--plot: no validation has a figure '{metric}'")
    inputs = _inputs(tables, metric)
    rows = math.ceil(len(curves) / IN_A_ROW)
    caption = f'{metric}, the mean of the tasks of a set, at each validation. Curves of one colour differ by seed.'
    caption += ' Dotted: the degraded images themselves.' if inputs else ''
    figure = new_figure(1.2 + 3.2 * rows, 'Validation', caption)
    panels = list(figure.subplots(rows, min(len(curves), IN_A_ROW), squeeze=False).flat)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for axes, (set_name, by_group) in zip(panels, curves.items()):
        for number, seeds in by_group.items():
            for place, points in enumerate(seeds):
                style = {**stroke(number), 'markersize': MARKER}
                axes.plot(*zip(*points), label=None if place else groups[number].name, **style)
        if set_name in inputs:
            axes.axhline(inputs[set_name], color='grey', linestyle=':', label='input')
        axes.set_title(set_name, fontsize=11)
        axes.set_xlabel('iteration')
        axes.set_ylabel(metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save(figure, out)


def _curves(groups: Sequence[Group], tables: Mapping[Path, Tables], metric: str) -> dict[str, dict[int, list[Points]]]:
    """Give the points of each run's curve: by set and number of the group."""
    curves: dict[str, dict[int, list[Points]]] = {}
    for number, group in enumerate(groups):
        for run in group.runs:
            for set_name, lines in tables[run.folder].items():
                points = [(int(line['iteration']), float(line[metric])) for line in lines if line.get(metric)]
                finite = [point for point in points if math.isfinite(point[1])]
                if finite:
                    curves.setdefault(set_name, {}).setdefault(number, []).append(finite)
    return curves


def _inputs(tables: Mapping[Path, Tables], metric: str) -> dict[str, float]:
    """Give what the degraded images of each set are worth, where a validation says it."""
    lines = [(name, lines[-1]) for sets in tables.values() for name, lines in sets.items()]
    return {name: float(line[f'{INPUT}{metric}']) for name, line in lines if line.get(f'{INPUT}{metric}')}


def _tables(folder: Path) -> Tables:
    """Read the means of a run's validations: set to lines of its CSV, of the average over tasks."""
    found = {}
    for path in sorted(folder.glob('metrics_*.csv')):
        with path.open(newline='', encoding='utf-8') as file:
            # a test has the run's name in place of an iteration
            lines = [line for line in csv.DictReader(file)
                     if line['task'] == AVERAGE and line['iteration'].isdigit()]  # fmt: skip
        if lines:
            found[path.stem.removeprefix('metrics_')] = lines
    return found


def _metric(tables: Mapping[Path, Tables], metrics: Sequence[str]) -> str:
    lines = [lines[-1] for sets in tables.values() for lines in sets.values()]
    if not lines:
        folders = ', '.join(map(str, tables))
        raise RunError(f'--plot: {folders}: expected validations of a training (metrics_<set>.csv), but there are '
                       'none; give folders of experiments/')  # fmt: skip
    if metrics:
        return metrics[0]
    return next(key for key in lines[0] if key not in ('iteration', 'task') and not key.startswith(INPUT))
