"""The paper's figures of what trained networks do: quality against number of tasks, and restored images."""

from __future__ import annotations

import json
import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from basicsr.metrics.psnr_ssim import calculate_psnr
from basicsr.utils import tensor2img
from matplotlib.axes import Axes

from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.experiments.figure_style import WIDTH, new_figure, save, show, stroke
from dinoir_plugin.experiments.measured import Figure, RunError, figures, result_file
from dinoir_plugin.experiments.runs import Job, jobs
from dinoir_plugin.experiments.variants import Experiments, folder_name, test_options
from dinoir_plugin.experiments.wording import encoders
from dinoir_plugin.imaging.decoding import Array
from dinoir_plugin.imaging.formats import split_name

BY_TASKS = 'table6'  # has runs with one task to four
SHARED_TEST = 'blur'  # of the one task that all of them train
METRIC = 'psnr'
CROP = 128  # pixels a side
ROW_LETTERS = 18
COLUMN_LETTERS = 84  # in a line of all headings


def by_tasks(experiments: Experiments, budget: str, seeds: int) -> dict[str, dict[int, Figure]]:
    """Give method to number of tasks to PSNR in dB on SHARED_TEST, where all seeds have been measured."""
    found: dict[str, dict[int, Figure]] = {}
    for method, _, run in experiments.tables[BY_TASKS]['rows']:
        names = [folder_name(budget, run, seed) for seed in range(seeds)]
        value = figures(names, SHARED_TEST, METRIC)
        if value is not None:
            count = len(experiments.tasks_of(run))
            found.setdefault(method, {})[count] = value
    return found


def fig1b(experiments: Experiments, budget: str, seeds: int, out: Path) -> None:
    """Draw fig. 1(b): what further tasks cost the first one.

    Across, the number of tasks that one network trains; up, the mean PSNR in dB on the deblurring test, the one task
    that all networks train; one curve for the baseline (Restormer) and one for DINO-IR, from table 6's runs.
    With several seeds a point is their mean, its bar their standard deviation.

    Args:
        experiments: Tables and runs.
        budget: Its name.
        seeds: Trainings of each network; a point is drawn where all of them have been measured.
        out: The PNG file.

    Raises:
        RunError: There is no point.
    """
    curves = by_tasks(experiments, budget, seeds)
    if not curves:
        raise RunError(f'fig1b: no network of {BY_TASKS} has been measured with {_seeds(seeds)} and budget {budget}. '
                       f'Run {BY_TASKS} first')  # fmt: skip
    (source,) = experiments.budgets[budget]['tests'][SHARED_TEST].values()
    caption = (
        f'Mean PSNR on deblurring ({source["dataroot_gt"].removeprefix("datasets/")}) of networks that train this task '
        f'alone and with others; {_seeds(seeds)}{", bars: their standard deviation" if seeds > 1 else ""}. All train '
        'for the same number of iterations: with more tasks they see fewer blurred images. '
        f'{encoders(job.training for job in jobs(experiments, BY_TASKS, budget, 1, None))}'
    )
    figure = new_figure(5.4, f'Deblurring against number of tasks, budget {budget}', caption)
    axes = figure.subplots()
    _draw_curves(axes, curves)
    ticks = _tasks_added(experiments)
    axes.set_xticks(list(ticks), [f'{count}\n{text}' for count, text in ticks.items()], fontsize=11)
    axes.set_xlim(min(ticks) - 0.3, max(ticks) + 0.3)
    axes.set_xlabel('tasks trained', fontsize=12)
    axes.set_ylabel('PSNR on deblurring (dB)', fontsize=12)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=12)
    save(figure, out)


def _draw_curves(axes: Axes, curves: Mapping[str, Mapping[int, Figure]]) -> None:
    for number, (method, points) in enumerate(curves.items()):
        counts = np.array(list(points))
        spreads = [point.spread for point in points.values() if point.spread is not None]
        axes.errorbar(
            counts + 0.03 * (number - (len(curves) - 1) / 2),  # bars beside each other
            [point.mean for point in points.values()],
            spreads or None,
            label=method, capsize=5, linewidth=2, **stroke(number),
        )  # fmt: skip


def _tasks_added(experiments: Experiments) -> dict[int, str]:
    """Map the number of tasks to those that the next smaller number does not have."""
    sets = {tuple(experiments.tasks_of(run)) for *_, run in experiments.tables[BY_TASKS]['rows']}
    texts, before = {}, set[str]()
    for tasks in sorted(sets, key=len):
        texts[len(tasks)] = ('+ ' if before else '') + ', '.join(task for task in tasks if task not in before)
        before |= set(tasks)
    return texts


class Shown(NamedTuple):
    """Hold an image of a test, before and after.

    Attributes:
        name: Of its file.
        degraded: (H, W, 3), uint8, RGB, as are the others.
        target: What it should be.
        restored: Method to result, of those that were measured.
        psnr: ``degraded`` and each method to PSNR in dB of the whole image.
    """

    name: str
    degraded: Array
    target: Array
    restored: dict[str, Array]
    psnr: dict[str, float]


def shown(methods: dict[str, Job], test: str) -> Shown | None:
    """Choose the image of a test to show.

    It is the one with the median PSNR (of an even number the lower), each image's PSNR being the mean over the
    methods: a typical one, whichever method it suits.

    Args:
        methods: What the table calls them, and their runs.
        test: Its name.

    Returns:
        None where no method has been measured.

    Raises:
        RunError: Results do not fit each other or the data set, or a restored image is missing.
    """
    tables = {}
    for method, job in methods.items():
        path = result_file(job.name, test)
        if path.is_file():
            tables[method] = json.loads(path.read_text(encoding='utf-8'))['images']
    if not tables:
        return None
    job = methods[next(iter(tables))]
    dataset = _dataset(job, test)
    lists = {tuple(map(_stem, images)) for images in tables.values()}
    if len(lists) > 1 or len(dataset) != len(next(iter(lists))):
        raise RunError(f'{test}: the results are not all of the images that the data set has now. Measure again')
    means = [statistics.fmean(map(_psnr, images)) for images in zip(*tables.values())]
    number = means.index(statistics.median_low(means))
    item = dataset[number]
    degraded, target = (tensor2img(item[key], rgb2bgr=False) for key in ('lq', 'gt'))
    return Shown(
        Path(item['lq_path']).name, degraded, target,
        {method: _restored(methods[method], test, images[number]) for method, images in tables.items()},
        {'degraded': float(calculate_psnr(degraded, target, crop_border=0)),
         **{method: _psnr(images[number]) for method, images in tables.items()}},
    )  # fmt: skip


def _dataset(job: Job, test: str) -> MixedDegradationDataset:
    """Open the images as the tester had them: with the same noise."""
    options = test_options(job.training, job.tests, job.name, Path(), job.metrics)
    return MixedDegradationDataset(
        {**options['datasets'][f'test_{test}'], 'phase': 'test', 'seed': options['manual_seed']}
    )


def _psnr(restored_image: dict[str, Any]) -> float:
    """Read a PSNR; JSON has no number for the PSNR of equal images."""
    return math.inf if restored_image[METRIC] is None else restored_image[METRIC]


def _stem(restored_image: dict[str, Any]) -> str:
    """Give an image's name without ending, which a result has where two images differ by nothing else."""
    return split_name(restored_image['name'])[0]


def _restored(job: Job, test: str, restored_image: dict[str, Any]) -> Array:
    folder = result_file(job.name, test).parent / 'visualization' / test / restored_image['task']
    path = folder / f'{_stem(restored_image)}_{job.name}.png'
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise RunError(f'{path} is missing or no image. Remove {result_file(job.name, test)} and measure again')
    return image


def detail(target: Array, side: int = CROP) -> tuple[slice, slice]:
    """Find rows and columns of the square (or what the image holds of it) in which ``target`` varies most.

    It is chosen by the target alone, so by no method's success: the largest variance of brightness.

    Args:
        target: (H, W, 3), uint8, RGB.
        side: Of the square, in pixels.
    """
    height, width = (min(side, length) for length in target.shape[:2])
    brightness = target.mean(2)

    def box(values: Array) -> Array:
        means = cv2.blur(values, (width, height), anchor=(0, 0))
        return means[: values.shape[0] - height + 1, : values.shape[1] - width + 1]

    variance = box(brightness**2) - box(brightness) ** 2
    top, left = np.unravel_index(variance.argmax(), variance.shape)
    return slice(top, top + height), slice(left, left + width)


def rows(
    experiments: Experiments, table: str, budget: str, out: Path, data: str | None = None, seed: int = 0
) -> None:
    """Draw before, after and target for a table: one row for each of its tests, one column for each method.

    Columns are the degraded image, each method of the table that was run, and the target. A row shows one crop, pixel
    by pixel, of one image: which image, see :func:`shown`; which crop, see :func:`detail`. Below stands the PSNR
    in dB of the whole image, BasicSR's (8 bits, RGB), which for the methods is that of the table.

    Args:
        experiments: Tables and runs.
        table: Its name.
        budget: Its name.
        out: The PNG file.
        data: Folder of the images, for budgets that ask for one; None: the budget's own.
        seed: Of which training.

    Raises:
        RunError: Nothing of the table has been measured, or results do not fit.
    """
    every = jobs(experiments, table, budget, seed + 1, data)
    runs = {job.run: job for job in every if job.seed == seed or not job.learns}
    methods = {', '.join(labels): runs[run] for *labels, run in experiments.tables[table]['rows'] if run is not None}
    tests = next(iter(runs.values())).tests
    lines = {test: line for test in tests if (line := shown(methods, test)) is not None}
    if not lines:
        raise RunError(f'{table}: nothing has been measured with seed {seed} and budget {budget}. Run it first')
    columns = [method for method in methods if any(method in line.restored for line in lines.values())]
    caption = (
        'PSNR in dB of the whole image. Of each test the image with the median PSNR (mean over the methods), of it '
        f'the {CROP} x {CROP} pixels in which the target varies most. Seed {seed}. '
        f'{encoders(methods[method].training for method in columns)}'
    )
    count = len(columns) + 2
    height = len(lines) * ((WIDTH - 0.7) / count + 0.3) + 1.4
    figure = new_figure(height, f'{table}: {experiments.tables[table]["title"]}, budget {budget}', caption)
    grid = figure.subplots(len(lines), count, squeeze=False)
    for number, (axes, (test, line)) in enumerate(zip(grid, lines.items())):
        _draw_row(axes, line, columns, headed=number == 0)
        axes[0].set_ylabel(f'{test}\n{textwrap.shorten(line.name, ROW_LETTERS, placeholder="...")}', fontsize=10)
    save(figure, out)


def _draw_row(axes: Sequence[Axes], line: Shown, columns: Sequence[str], headed: bool) -> None:
    place = detail(line.target)
    images = {'degraded': line.degraded, **{method: line.restored.get(method) for method in columns},
                'target': line.target}  # fmt: skip
    for panel, (name, restored_image) in zip(axes, images.items()):
        title = textwrap.fill(name, COLUMN_LETTERS // len(images), break_long_words=False) if headed else ''
        if restored_image is None:
            show(panel, np.full((*line.target[place].shape[:2], 3), 255, np.uint8), title, 'not measured')
            continue
        show(panel, restored_image[place], title, f'{line.psnr[name]:.2f} dB' if name in line.psnr else '')


def _seeds(seeds: int) -> str:
    return '1 training' if seeds == 1 else f'{seeds} trainings'
