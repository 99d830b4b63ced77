"""The part of a report that is about images: every task of every data set, looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from basicsr.utils import tensor2img
from basicsr.utils.registry import DATASET_REGISTRY
from tqdm import tqdm

from dinoir_plugin.core.construct import registered_class
from dinoir_plugin.core.errors import OptionsError, under
from dinoir_plugin.core.options import read
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.data.image_check import (
    SHOW_PROGRESS_ABOVE,
    Decoded,
    Survey,
    decode_all,
    decode_first,
    kinds_in,
    refuse_bad,
    size_in,
    survey,
)
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.sampling import Draw
from dinoir_plugin.data.sources import LmdbSource, folder_path, open_source
from dinoir_plugin.data.task import Task
from dinoir_plugin.preflight.builds import find_dataset
from dinoir_plugin.preflight.contact_sheet import SAMPLES, DecodedImage, SheetRow
from dinoir_plugin.preflight.report import ERROR, NOT_CHECKED, OK, Finding, NotCheckedError, Report

ROOTS = {'dataroot_gt': open_source, 'dataroot_lq': open_source, 'dataroot_medium': open_source,
         'dataroot_depth': folder_path}  # fmt: skip


@dataclass
class TaskView:
    """Hold a task that is opened by itself, so that a fault of another one does not hide it.

    Attributes:
        set_path: Path of its data set's options, such as ``datasets.train``.
        name: Its name.
        task: None where it cannot be opened.
        dataset: A data set of this task alone; None where it cannot be made.
        errors: Why, with full paths.
    """

    set_path: str
    name: str
    task: Task | None = None
    dataset: MixedDegradationDataset | None = None
    errors: list[OptionsError] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Give the path of its options."""
        return f'{self.set_path}.tasks.{self.name}'


def check_data(report: Report, datasets: Mapping[str, Any], full: bool) -> list[SheetRow]:
    """Open all data sets, look at all their images and draw samples of each task.

    Args:
        report: Gets a row for each data set and each task.
        datasets: The options' block ``datasets``, as the host parsed it.
        full: Whether to decode every image, or the first one of each task.

    Returns:
        The samples.
    """
    views = {phase: _open_tasks(options, f'datasets.{phase}') for phase, options in datasets.items()}
    opened = [view.task for each in views.values() for view in each if view.task is not None]
    decoded = decode_all(opened) if full else None
    total = sum(len(task) for task in opened)
    rows: list[SheetRow] = []
    with tqdm(total=total, desc='looking at images', unit='image', disable=total <= SHOW_PROGRESS_ABOVE) as bar:
        for phase, options in datasets.items():
            _check_set(report, options, f'datasets.{phase}', views[phase])
            for view in views[phase]:
                pairs = _check_task(report, view, decoded, bar)
                if pairs:
                    rows.append(SheetRow(f'{view.set_path}: {view.name}', pairs))
    return rows


def _open_tasks(options: Any, path: str) -> list[TaskView]:
    """Open each task of a data set; none where the set is somebody else's, or its block ``tasks`` is no such block."""
    blocks = options.get('tasks') if isinstance(options, Mapping) else None
    if not isinstance(blocks, Mapping):
        return []
    kind = registered_class(DATASET_REGISTRY, options.get('type'))
    if kind is None or not issubclass(kind, MixedDegradationDataset):
        return []
    views = []
    for name, block in blocks.items():
        view = TaskView(path, str(name))
        views.append(view)
        try:
            with under(path):
                view.task = Task(view.name, read(TaskOptions, block, f'tasks.{name}'))
                # the captions are of all tasks, and stand in the data set's row
                view.dataset = kind({**options, 'tasks': {name: block}, 'captions': None})
        except OptionsError as error:
            view.errors = [error]
            if view.task is None and isinstance(block, Mapping):
                view.errors += [other for other in _bad_roots(block, view.path) if str(other) != str(error)]
    return views


def _bad_roots(block: Mapping[str, Any], path: str) -> list[OptionsError]:
    """Name the folders of a task that cannot be opened, each looked at by itself."""
    errors = []
    for key, open_root in ROOTS.items():
        if block.get(key) is not None:
            try:
                open_root(block[key], f'{path}.{key}')
            except OptionsError as error:
                errors.append(error)
    return errors


def _check_set(report: Report, options: Mapping[str, Any], path: str, views: list[TaskView]) -> None:
    """Add the row of a data set as a whole: what concerns it and none of its tasks."""

    def check() -> str:
        kind = find_dataset(options, path)
        if not issubclass(kind, MixedDegradationDataset):
            if not hasattr(kind, 'check_images'):
                return f'{kind.__name__}, which checks its options when training begins'
            with under(path):
                kind(options).check_images()
            return f'{kind.__name__}, its images'
        own = [error for view in views for error in view.errors if not error.path.startswith(f'{path}.tasks.')]
        if own:
            raise own[0]
        if views and all(view.errors for view in views):
            raise NotCheckedError('patch sizes and stages: none of its tasks can be opened')
        if any(view.errors for view in views):
            return f'{sum(not view.errors for view in views)} of {len(views)} tasks can be opened'
        with under(path):
            return _describe(kind(options))

    report.attempt(path, check)


def _describe(dataset: MixedDegradationDataset) -> str:
    stages = ', then '.join(f'batch {stage.batch} of {stage.gt_size} px' for stage in dataset.stages)
    count = f'{len(dataset.tasks)} task{"s" if len(dataset.tasks) > 1 else ""}, {len(dataset)} '
    return count + (f'samples an epoch, {stages}' if dataset.is_training else 'images')


def _check_task(
    report: Report, view: TaskView, decoded: Mapping[str, Decoded | str] | None, bar: tqdm
) -> list[tuple[DecodedImage, DecodedImage]]:
    """Add the row of a task; returns its samples."""
    task, dataset = view.task, view.dataset
    if task is None:
        report.add(Finding(view.path, '', ERROR, [str(error) for error in view.errors]))
        return []
    if dataset is None:
        # what keeps the data set from being made stands in the data set's row, unless it is about this task
        own = [str(error) for error in view.errors if f'{error.path}.'.startswith(f'{view.path}.')]
        report.add(Finding(view.path, f'{len(task)} images', ERROR if own else NOT_CHECKED, own))
        return []
    found = survey(task, _least(dataset), None if decoded is None else size_in(decoded), bar)
    report.bad_images.update(dict.fromkeys(found.problems))
    kinds, pairs, errors = [], [], []
    try:
        with under(view.set_path):
            refuse_bad(task, found)
            kinds = kinds_in(decoded, task) if decoded is not None else [first.kind for first in decode_first(task)]
    except OptionsError as error:
        errors.append(str(error))
    try:
        pairs = _samples(dataset)
    except (OSError, ValueError) as error:
        # mostly the same image again; a fault of the degradation is said nowhere else
        errors += [] if errors else [f'{view.path}: {error}']
    row = Finding(view.path, _words(task, found, kinds, decoded is not None), ERROR if errors else OK, errors)
    if pairs and all(np.array_equal(degraded, target) for degraded, target in pairs):
        row.warn(f'{view.path}: degraded and target are equal in {len(pairs)} samples. Is this the right folder?')
    report.add(row)
    return pairs


def _least(dataset: MixedDegradationDataset) -> int:
    """Give the least side that an image must have."""
    if not dataset.is_training:
        return 1
    return max((stage.gt_size for stage in dataset.stages), default=dataset.gt_size)


def _words(task: Task, found: Survey, kinds: list[str], is_full: bool) -> str:
    words = [f'{len(task)} {"images" if task.lq is None else "pairs"}']
    if found.smallest is not None and found.largest is not None:
        both = dict.fromkeys((size_text(found.smallest), size_text(found.largest)))
        words.append(' to '.join(both))
    words += dict.fromkeys(filter(None, kinds))
    words.append('LMDB' if isinstance(task.gt, LmdbSource) else 'folder')
    return ', '.join(words) + (', all decoded' if is_full else '')


def _samples(dataset: MixedDegradationDataset) -> list[tuple[DecodedImage, DecodedImage]]:
    """Draw up to SAMPLES times degraded and target, as the first stage of a training run or a validation gets them."""
    if dataset.is_training:
        size = dataset.stages[0].gt_size if dataset.stages else dataset.gt_size
        items = [dataset[Draw(number, size)] for number in range(SAMPLES)]
    else:
        last = len(dataset) - 1
        items = [dataset[number] for number in sorted({last * place // (SAMPLES - 1) for place in range(SAMPLES)})]
    return [(tensor2img(item['lq']), tensor2img(item['gt'])) for item in items]
