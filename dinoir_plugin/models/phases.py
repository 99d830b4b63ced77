"""Phases of a training run (``train.phases``): which losses, which part of the network, which learning rate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.options import read
from dinoir_plugin.guidance.attach import resolve_names
from dinoir_plugin.guidance.guided_arch import backbone_of
from dinoir_plugin.models.options import PhaseOptions


class Phases:
    """Tell which phase an iteration belongs to.

    Args:
        blocks: ``train.phases``; without any the whole run is one phase.

    Raises:
        OptionsError: A key or value that a phase does not take.
    """

    def __init__(self, blocks: Sequence[Mapping[str, Any]] | None) -> None:
        phases = read(Sequence[PhaseOptions], blocks or [], 'train.phases')
        self._phases = list(phases) or [PhaseOptions(iters=1)]
        self._ends = list(accumulate(phase.iters for phase in self._phases))
        self._learning: list[str] = []

    def check(self, network: nn.Module, losses: Collection[str]) -> None:
        """Hold what the phases name against a network and the names of the run's losses.

        Raises:
            OptionsError: A loss, a submodule or a stage that there is not.
        """
        for number, phase in enumerate(self._phases):
            path = f'train.phases[{number}]'
            for place, name in enumerate(phase.losses or ()):
                if name not in losses:
                    where = f'{path}.losses[{place}]'
                    raise OptionsError(where, f"there is no loss '{name}'", nearest(name, losses))
            if phase.train_only is not None:
                resolve_names(network, phase.train_only, f'{path}.train_only')
            if phase.stage is not None:
                _check_stage(backbone_of(network), phase.stage, f'{path}.stage')

    def at(self, iteration: int) -> PhaseOptions:
        """Give the phase of an iteration, counted from 1."""
        number = bisect_right(self._ends, iteration - 1)
        return self._phases[min(number, len(self._phases) - 1)]

    def begins(self, iteration: int) -> bool:
        """Tell whether a phase begins with this iteration."""
        return iteration == 1 or iteration - 1 in self._ends[:-1]

    def lr_at(self, iteration: int) -> float | None:
        """Give the learning rate that the last phase with one began with, up to an iteration; None where none did."""
        begun = [phase for phase, end in zip(self._phases, [0, *self._ends]) if end < iteration]
        return next((phase.lr for phase in reversed(begun) if phase.lr is not None), None)

    def set_learning_rate(self, iteration: int, optimizers: Sequence[Optimizer], schedulers: Sequence[Any]) -> None:
        """Start all optimizers' schedules anew from a phase's learning rate, where one with its own begins."""
        lr = self.at(iteration).lr
        if lr is None or not self.begins(iteration):
            return
        for optimizer, scheduler in zip(optimizers, schedulers):
            for group in optimizer.param_groups:
                group['lr'] = group['initial_lr'] = lr
            scheduler.base_lrs = [lr] * len(scheduler.base_lrs)

    def choose_learning(self, network: nn.Module, phase: PhaseOptions) -> bool:
        """Let the submodules of ``phase.train_only`` learn, and no others.

        Parameters that never learn stay so: what they were at the first call counts.

        Returns:
            Whether anything changed: a network that is wrapped for several processes has to be wrapped anew then.
        """
        if not self._learning:
            self._learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        names = phase.train_only
        chosen = None if names is None else tuple(f'{n}.' for n in resolve_names(network, names, 'train_only'))
        parameters = dict(network.named_parameters())
        changed = False
        for name in self._learning:
            learns = chosen is None or name.startswith(chosen)
            changed = changed or learns != parameters[name].requires_grad
            parameters[name].requires_grad_(learns)
        return changed


def _check_stage(backbone: nn.Module, stage: int, path: str) -> None:
    stages = getattr(backbone, 'stages', 0)
    if not stages:
        raise OptionsError(path, f'{type(backbone).__name__} is not trained in stages', 'Leave it out')
    if stage > stages:
        raise OptionsError(path, f'expected a number from 1 to {stages}, got {stage}')
