"""`MixedDegradationDataset`: several restoration tasks in one training or test set."""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from dinoir_plugin.core.constraints import FolderName
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import read
from dinoir_plugin.data.captions import captions_of
from dinoir_plugin.data.image_check import check_tasks
from dinoir_plugin.data.options import BatchSize, DatasetOptions, Side, TaskOptions
from dinoir_plugin.data.sampling import Draw, Stage, StageBatchSampler, TaskCycle, file_rng, sample_rng, shuffled_order
from dinoir_plugin.data.task import AVERAGE, Sample, Task
from dinoir_plugin.imaging.decoding import Array, FloatArray


@DATASET_REGISTRY.register()
class MixedDegradationDataset(Dataset[dict[str, Any]]):
    """Give images of several tasks, degraded on the way or read in pairs.

    An item is a dict with ``lq`` and ``gt`` (float32 tensors of shape (3, H, W), order RGB, range [0, 1]; ``lq`` may
    leave it where noise is not quantised), ``lq_path``, ``gt_path`` and ``task``, the task's name; with
    ``second_patch`` in training also ``key``, another patch of the same degraded image, like ``lq``; with ``captions``
    also ``caption``, a text; where tasks have a ``dataroot_medium`` also ``medium``, the half-restored image, like
    ``gt``.

    In training an item's number is its place in the whole run: task, image, crop, turn and degradation are a
    function of ``seed`` and that number alone, and numbers beyond ``len(dataset)`` go on to the next pass over the
    images. Every image of a task comes once in a pass, in an order that changes from pass to pass. In validation
    and tests items come task by task as whole images, and random numbers follow from ``seed`` and file name.

    Args:
        opt: The data set's options, not changed; see :class:`~dinoir_plugin.data.options.DatasetOptions`.

    Attributes:
        opt: A copy of the options, as BasicSR's models expect.
        tasks: The names of the tasks, in order.
        stages: The parts of a training run; empty without a batch size, and in validation.
        provides: The keys of an item.
        provides_with: Further keys, and the options that switch them on.
    """

    provides: ClassVar[frozenset[str]] = frozenset({'lq', 'gt', 'task', 'lq_path', 'gt_path'})
    provides_with: ClassVar[Mapping[str, str]] = {'key': 'second_patch', 'caption': 'captions'}

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.opt = deepcopy(dict(opt))
        options = read(DatasetOptions, self.opt)
        self.is_training = options.phase == 'train'
        self.seed = options.seed or 0
        self._tasks = _make_tasks(options.tasks)
        self.tasks = [task.name for task in self._tasks]
        _check_medium(self._tasks)
        captions = None if options.captions is None else captions_of(self._tasks, options.captions)
        self._captions = None if captions is None else dict(zip(self.tasks, captions))
        self._ends = list(accumulate(len(task) for task in self._tasks))
        self._cycle = TaskCycle(self._read_shares(options.sampling == 'proportional'))
        self._length = self._ends[-1]
        self.stages: list[Stage] = []
        self._reported: set[tuple[str, int]] = set()
        if self.is_training:
            self._read_training_options(options)
            self._length = self._cycle.epoch_length([len(task) * task.repeat for task in self._tasks])

    def _read_shares(self, proportional: bool) -> list[float]:
        for task in self._tasks:
            if task.repeat != 1 and not proportional:
                raise OptionsError(f'{task.path}.repeat', 'this option has no effect without sampling: proportional',
                                   'Write that, or give the task a weight')
        return [task.weight * (len(task) * task.repeat if proportional else 1) for task in self._tasks]

    def _read_training_options(self, options: DatasetOptions) -> None:
        if options.gt_size is None:
            raise OptionsError('gt_size', 'training needs the side of the patches in pixels, for instance 128')
        self.skips = options.on_error == 'skip'
        self.gt_size = options.gt_size
        self.use_hflip, self.use_rot = options.use_hflip, options.use_rot
        self.second_patch = options.second_patch
        self.enlarge_ratio = options.dataset_enlarge_ratio
        self.stages = _make_stages(options)

    def __len__(self) -> int:
        """Count the items of a validation set; in training the least number of samples that show every image."""
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Without this a for loop would go on until an IndexError, which training numbers never raise.
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: int | Draw) -> dict[str, Any]:
        """Give an item; see the class. A `Draw` also sets the patch size.

        Raises:
            IndexError: The number is negative, or too large in validation.
            ValueError: A file cannot be used; the message names it.
        """
        number, size = index if isinstance(index, Draw) else (int(index), None)
        if number < 0 or (not self.is_training and number >= len(self)):
            raise IndexError(f'expected a number from 0{"" if self.is_training else f" to {len(self) - 1}"}, '
                             f'got {number}')
        task, place, sample, key = self._patch(number, size) if self.is_training else self._whole(number)
        item: dict[str, Any] = {
            'lq': _to_tensor(sample.lq),
            'gt': _to_tensor(sample.gt),
            'lq_path': sample.lq_path,
            'gt_path': sample.gt_path,
            'task': task.name,
        }
        if sample.medium is not None:
            item['medium'] = _to_tensor(sample.medium)
        if key is not None:
            item['key'] = _to_tensor(key)
        if self._captions is not None:
            item['caption'] = self._captions[task.name][place]
        return item

    def _patch(self, number: int, size: int | None) -> tuple[Task, int, Sample, FloatArray | None]:
        task, order, place, rng = self.choose(number)
        for attempt in range(len(task)):
            item = int(order[(place + attempt) % len(task)])
            wanted = item, size or self.gt_size, self.use_hflip, self.use_rot, rng
            try:
                return task, item, *(task.two_patches(*wanted) if self.second_patch else (task.patch(*wanted), None))
            except (OSError, ValueError) as error:
                if not self.skips:
                    raise
                self._report(task, item, error)
                rng = sample_rng(self.seed, number)
        raise ValueError(f'{task.path}: none of {len(task)} images can be used, so on_error: skip does not help.')

    def choose(self, number: int) -> tuple[Task, Array, int, np.random.Generator]:
        """Tell what training sample ``number`` is made of.

        Returns:
            Its task, the order of the task's images in this pass, the place in that order, and its random numbers.
        """
        which, turn = self._cycle.locate(number)
        task = self._tasks[which]
        turn, place = divmod(turn, len(task))
        return task, shuffled_order(self.seed, task.name, turn, len(task)), place, sample_rng(self.seed, number)

    def _report(self, task: Task, item: int, error: Exception) -> None:
        if (task.name, item) not in self._reported:
            self._reported.add((task.name, item))
            get_root_logger().warning(f'Skipped, and the next image of task {task.name} taken: {error}')

    def _whole(self, number: int) -> tuple[Task, int, Sample, None]:
        which = bisect_right(self._ends, number)
        task = self._tasks[which]
        item = number - (self._ends[which] - len(task))
        return task, item, task.whole(item, file_rng(self.seed, task.stem(item))), None

    def batch_sampler(self, sampler: EnlargedSampler, batch_multiplier: int = 1) -> StageBatchSampler:
        """Make the batch sampler that a training loader should use in place of BasicSR's sampler.

        Args:
            sampler: BasicSR's sampler for this rank; its epoch is followed.
            batch_multiplier: The number of GPUs where one process feeds several (DataParallel).

        Returns:
            Yields lists of `Draw`, as many in an epoch as BasicSR's trainer counts.
        """
        if not self.stages:
            raise OptionsError('batch_size_per_gpu', 'training batches need this option, in training phase only')
        # The trainer's own expression, so that its number of epochs covers its number of iterations.
        batch = self.opt.get('batch_size_per_gpu', self.stages[0].batch)
        epoch_iters = math.ceil(len(self) * self.enlarge_ratio / (batch * sampler.num_replicas))
        done = [self.opt.get(key) for key in ('done_samples', 'done_ranks')]
        return StageBatchSampler(
            sampler, self.stages, epoch_iters, batch_multiplier, self.opt.get('done_iters', 0), *done
        )

    def summary(self) -> str:
        """Make a table of the tasks: images, share of the samples, samples in an epoch."""
        lines = [f'{"task":16} {"images":>9} {"share":>7} {"an epoch":>9}']
        for task, share in zip(self._tasks, self._cycle.shares):
            lines.append(f'{task.name:16} {len(task):9} {share:7.1%} {round(share * len(self)):9}')
        return '\n'.join(lines)

    def sizes(self) -> set[tuple[int, int]]:
        """Read height and width of all images from their headers; those that cannot be read are left out."""
        found = set()
        for task in self._tasks:
            for pair in task.pairs:
                with contextlib.suppress(OSError, ValueError):
                    found.add(task.gt.size(pair.gt))
        return found

    def check_images(self) -> None:
        """Look at all images by their headers and decode one of each task; for once before a long run.

        Raises:
            OptionsError: Names pairs of different sizes, images smaller than the largest patch of any stage, and
                files that cannot be read.
        """
        sizes = [stage.gt_size for stage in self.stages]
        if self.is_training and not sizes:
            sizes = [self.gt_size]
        check_tasks(self._tasks, max(sizes, default=1))


def _make_tasks(options: Mapping[str, TaskOptions]) -> list[Task]:
    for name in options:
        if name == AVERAGE:
            raise OptionsError(f'tasks.{name}', 'figures of all tasks together have this name', 'Rename it')
        if not FolderName().allows(str(name)):
            raise OptionsError(f'tasks.{name}', 'a task gives a folder its name: expected no path', 'Rename it')
    return [Task(str(name), block) for name, block in options.items()]


def _check_medium(tasks: Sequence[Task]) -> None:
    without = [task.path for task in tasks if task.medium is None]
    if 0 < len(without) < len(tasks):
        raise OptionsError(f'{without[0]}.dataroot_medium', 'other tasks have half-restored images, got none',
                           'Give them to all tasks or to none')


def _make_stages(options: DatasetOptions) -> list[Stage]:
    batch, side = options.batch_size_per_gpu, options.gt_size
    if not options.stages:
        return [] if batch is None else [Stage(1, batch, read(Side, side, 'gt_size'))]
    stages = []
    for number, block in enumerate(options.stages):
        path = f'stages[{number}]'
        # a stage may leave either to the data set, which need not have a batch size
        size = read(BatchSize, block.batch_size_per_gpu or batch, f'{path}.batch_size_per_gpu')
        stages.append(Stage(block.iters, size, read(Side, block.gt_size or side, f'{path}.gt_size')))
    return stages


def _to_tensor(image: FloatArray) -> torch.Tensor:
    """Turn (H, W, 3) into a contiguous (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
