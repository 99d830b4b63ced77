"""Reckon how long a training run takes, and how much memory of a GPU, from a few of its steps."""

from __future__ import annotations

import io
import logging
import signal
import statistics
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils.registry import MODEL_REGISTRY
from torch.utils.data import BatchSampler, default_collate

from dinoir_plugin.core import random_state
from dinoir_plugin.core.construct import look_up
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import byte_text, size_text
from dinoir_plugin.data.sampling import StageBatchSampler
from dinoir_plugin.models.step_checks import TrainingError
from dinoir_plugin.models.step_graph import WARM_UP
from dinoir_plugin.preflight.builds import find_dataset
from dinoir_plugin.preflight.needs import uses_gpu
from dinoir_plugin.preflight.report import NotCheckedError

TIMED = 5  # steps at most, whose median counts
ENOUGH = 2.0  # seconds of timed steps, after which no more are made
SMALLER = ('Take smaller batches (batch_size_per_gpu) or patches (gt_size), set train.amp: bf16, or name submodules '
           'under train.checkpointing')  # fmt: skip


class Part(NamedTuple):
    """Hold what a part of a run takes whose iterations are alike.

    Attributes:
        iterations: Its length.
        batch: What an iteration sees, in words.
        seconds: Of an iteration.
    """

    iterations: int
    batch: str
    seconds: float


def time_run(opt: Mapping[str, Any]) -> str:
    """Make a few steps of each stage and phase of a run, on one device, and reckon what the whole run takes.

    A step is the run's own: model, losses, optimizer, averages and options of ``train``, on batches of the training
    set. The model begins with random weights and is thrown away; nothing is written, and random numbers go on as
    before. What else a run does (waiting for images, validation, checkpoints) is not in it.

    Args:
        opt: BasicSR's options of a training run that our model drives, parsed, without errors; not changed.

    Returns:
        Seconds an iteration, hours and, on a GPU, memory.

    Raises:
        OptionsError: The GPU has too little memory.
        NotCheckedError: A step ended in numbers that are not finite.
    """
    on_gpu = uses_gpu(opt['num_gpu'])
    alone = {**deepcopy(dict(opt)), 'num_gpu': int(on_gpu)}
    alone['path']['pretrain_network_g'] = None  # other weights take as long
    if opt['num_gpu'] > 1:
        alone['train']['cuda_graph'] = 'off'  # gradients that are exchanged cannot be recorded
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        with random_state.kept(), _silence():
            parts = _time_parts(alone)
    except TrainingError as error:
        raise NotCheckedError(f'a step on random weights failed: {error}') from error
    said = in_words(parts, opt['num_gpu'] if on_gpu else 0)
    if on_gpu:
        _, total = torch.cuda.mem_get_info()
        said += f'; memory {byte_text(torch.cuda.max_memory_reserved())} at most of {byte_text(total)}'
    return said


def in_words(parts: Sequence[Part], gpus: int) -> str:
    """Say what an iteration of each part takes, and all of them together.

    Args:
        parts: Of a run, on one device.
        gpus: Those of the run, each of which has a batch of its own; 0: it is made on the CPU.
    """
    first, *others = parts
    steps = [f'{_seconds(first.seconds)} an iteration ({first.batch})',
             *(f'{_seconds(part.seconds)} ({part.batch})' for part in others)]
    hours = sum(part.iterations * part.seconds for part in parts) / 3600
    taken = f'{_about(hours)} {"GPU hours" if gpus else "hours on this CPU"}'
    if gpus > 1:
        taken = f'{_about(hours)} hours on {gpus} GPUs, {_about(gpus * hours)} GPU hours, without exchanging gradients'
    return f'{", then ".join(steps)}, {sum(part.iterations for part in parts):,} iterations: {taken}'


def _time_parts(opt: Mapping[str, Any]) -> list[Part]:
    train, amp = opt['train'], opt['train'].get('amp')
    with _fitting('building network, losses and optimizer'):
        model = _build(opt)
    samples = _Samples(opt['datasets']['train'])
    blocks = [samples.stage_iters, [phase['iters'] for phase in train.get('phases') or ()]]
    starts = _starts(train['total_iter'], blocks)
    parts = []
    for start, after in zip(starts, [*starts[1:], train['total_iter'] + 1]):
        data = samples.batch(start)
        height, width = data['lq'].shape[-2:]
        side = f'{width} px' if height == width else f'{size_text((height, width))} px'
        # YAML reads a bare `off` as false
        batch = f'{len(data["lq"])} x {side}' + (f', {amp}' if amp not in (None, False, 'off') else '')
        with _fitting(f'a step of {batch}'):
            model.update_learning_rate(start, train.get('warmup_iter', -1))
            parts.append(Part(after - start, batch, _time_step(model, data, start)))
    return parts


def _starts(total: int, blocks: Sequence[Sequence[int]]) -> list[int]:
    """Give the iterations, counted from 1, with which another part begins.

    Args:
        total: Iterations of the run.
        blocks: Lengths of stages, and of phases; the last of each goes on to the end.
    """
    ends = [end for lengths in blocks for end in accumulate(lengths[:-1])]
    return sorted({1, *(end + 1 for end in ends if end < total)})


def _build(opt: Mapping[str, Any]) -> Any:
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(kind) for kind in kinds]
    model = look_up(MODEL_REGISTRY, opt['model_type'], 'model_type')(opt)
    # a run notes these signals, to save its iteration; here is nothing to save
    if threading.current_thread() is threading.main_thread():
        for kind, handler in zip(kinds, before):
            signal.signal(kind, handler)
    return model


class _Samples:
    """Give batches of a training set, as one rank gets them.

    Args:
        options: The block ``datasets.train``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._dataset = find_dataset(options, 'datasets.train')(options)
        sampler = EnlargedSampler(self._dataset, 1, 0, options.get('dataset_enlarge_ratio', 1))
        self._draws: Any = (
            self._dataset.batch_sampler(sampler)
            if hasattr(self._dataset, 'batch_sampler')
            else BatchSampler(sampler, options['batch_size_per_gpu'], drop_last=False)
        )

    @property
    def stage_iters(self) -> list[int]:
        """Give the lengths of the stages; none of a set without."""
        return [stage.iters for stage in getattr(self._draws, 'stages', ())]

    def batch(self, iteration: int) -> dict[str, Any]:
        """Give the batch of an iteration, counted from 1; the first one, where the set cannot tell which it is."""
        in_turn = isinstance(self._draws, StageBatchSampler)
        draws = self._draws.batch(iteration - 1) if in_turn else next(iter(self._draws))
        batch: dict[str, Any] = default_collate([self._dataset[draw] for draw in draws])
        return batch


def _time_step(model: Any, data: Mapping[str, Any], iteration: int) -> float:
    """Give the seconds of a step, the median of some after a warm-up."""
    on_gpu = model.device.type == 'cuda'
    warm_up = WARM_UP + 1 if on_gpu else 1  # on a GPU the step behind WARM_UP is recorded
    taken: list[float] = []
    while len(taken) < warm_up + TIMED and sum(taken[warm_up:]) < ENOUGH:
        start = time.perf_counter()
        model.feed_data(data)
        model.optimize_parameters(iteration)
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[warm_up:])


@contextmanager
def _fitting(what: str) -> Iterator[None]:
    """Say what there was too little memory of a GPU for."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info()
        left = byte_text(free + torch.cuda.memory_reserved())
        problem = f'{what} needs more memory than is free on the GPU ({left} of {byte_text(total)})'
        raise OptionsError('datasets.train.batch_size_per_gpu', problem, SMALLER) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep back the log of a run that is none, what BasicSR prints, and warnings, which the other checks have given."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def _seconds(value: float) -> str:
    return f'{value:.2g} s' if value < 10 else f'{value:.0f} s'


def _about(hours: float) -> str:
    if hours < 0.1:
        return 'less than 0.1'
    return f'about {hours:.1f}' if hours < 10 else f'about {hours:,.0f}'
