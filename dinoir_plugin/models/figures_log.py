"""Figures of a validation in the log and in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from dinoir_plugin.models.results import INPUT, INPUT_COLUMN, Figures, average

TALLEST = 512  # pixels of a strip
STRIPS = 4  # of a set


def lines_of(name: str, figures: Figures, best: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Write the average of a data set, a line a metric, as BasicSR does, with what the input was worth.

    Args:
        name: The data set's.
        figures: Its means.
        best: Metric to the best value so far and its iteration, as BasicSR keeps them; None in a test.
    """
    of_input = average(figures.input)
    lines = [f'Validation {name}']
    for metric, value in average(figures.means).items():
        entry = best and best[metric]
        record = f'\tBest: {entry["val"]:.4f} @ {entry["iter"]} iter' if entry else ''
        lines.append(f'\t # {metric}: {_figure(metric, value, of_input)}{record}')
    return '\n'.join([*lines, ''])


def lines_by_task(name: str, figures: Figures) -> str:
    """Write a line for each task."""
    lines = [f'Validation {name}, task by task']
    for task, row in figures.means.items():
        of_input = figures.input.get(task, {})
        cells = [f'{metric} {_figure(metric, value, of_input)}' for metric, value in row.items()]
        lines.append(f'\t # {task}: ' + ', '.join(cells))
    return '\n'.join(lines)


def _figure(metric: str, value: float, of_input: Mapping[str, float]) -> str:
    worth = f' ({INPUT} {of_input[metric]:.4f})' if metric in of_input else ''
    return f'{value:.4f}{worth}'


def add_scalars(tb_logger: Any, name: str, figures: Figures, iteration: int | str) -> None:
    """Add a data set's average, and each task's means where there are several, to TensorBoard.

    ``metrics/<set>/<metric>`` and ``metrics/<set>/<task>/<metric>``; the input's are called ``input_<metric>``.
    """
    several = len(figures.means) > 1
    for table, before in ((figures.means, ''), (figures.input, INPUT_COLUMN)):
        rows = {'': average(table), **({f'{task}/': row for task, row in table.items()} if several else {})}
        for place, row in rows.items():
            for metric, value in row.items():
                tb_logger.add_scalar(f'metrics/{name}/{place}{before}{metric}', value, iteration)


def shown_of(numbers: Sequence[int]) -> set[int]:
    """Choose the images of a set that TensorBoard shows: four at most, the first of each quarter of the set."""
    return {numbers[len(numbers) * place // STRIPS] for place in range(STRIPS)} if numbers else set()


def add_strip(tb_logger: Any, name: str, images: Sequence[Tensor], iteration: int | str) -> None:
    """Add images side by side to TensorBoard, as ``images/<name>``, at most 512 pixels high.

    Args:
        tb_logger: TensorBoard's writer.
        name: The data set's, the task's and the image's, by slashes.
        images: Input, output and, where there is one, target, each (C, H, W) with 1 or 3 channels of RGB in [0, 1]
            (of more channels the first three are shown), not necessarily of one size; clipped here.
        iteration: The iteration.
    """
    height = min(TALLEST, images[1].shape[-2])
    shown = []
    for image in images:
        width = max(1, round(image.shape[-1] * height / image.shape[-2]))
        pixels = image[:3].clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0).mul(255).round().byte().numpy()
        shown.append(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA))
    tb_logger.add_image(f'images/{name}', np.concatenate(shown, axis=1), iteration, dataformats='HWC')
