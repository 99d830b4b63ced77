"""Phases of a training run (``train.phases``): which losses, which part of the network, which learning rate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dinoir_plugin.guidance.attach import resolve_names


@dataclass(frozen=True)
class Phase:
    """Hold one phase.

    Attributes:
        iters: How many iterations it has; the last phase goes on to the end of the run.
        losses: Names of the losses that count (``dpc`` for ``train.dpc_opt``); None: all.
        train_only: Names or patterns of submodules that learn; None: all of the network.
        lr: Learning rate from the first iteration of the phase on; None: as the scheduler has it.
    """

    iters: int
    losses: Sequence[str] | None = None
    train_only: Sequence[str] | None = None
    lr: float | None = None


class Phases:
    """Tell which phase an iteration belongs to.

    Args:
        blocks: ``train.phases``; without any the whole run is one phase.
    """

    def __init__(self, blocks: Sequence[Mapping[str, Any]] | None) -> None:
        self._phases = [Phase(**block) for block in blocks or ()] or [Phase(1)]
        self._ends = list(accumulate(int(phase.iters) for phase in self._phases))
        self._learning: list[str] = []

    def at(self, iteration: int) -> Phase:
        """Give the phase of an iteration, counted from 1."""
        number = bisect_right(self._ends, iteration - 1)
        return self._phases[min(number, len(self._phases) - 1)]

    def begins(self, iteration: int) -> bool:
        """Tell whether a phase begins with this iteration."""
        return iteration == 1 or iteration - 1 in self._ends[:-1]

    def choose_learning(self, network: nn.Module, phase: Phase) -> bool:
        """Let the submodules of ``phase.train_only`` learn, and no others.

        Parameters that never learn stay so: what they were at the first call counts.

        Returns:
            Whether anything changed: a network that is wrapped for several processes has to be wrapped anew then.

        Raises:
            OptionsError: A name that no submodule has (path ``train_only``).
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


def set_learning_rate(optimizers: Sequence[Optimizer], schedulers: Sequence[Any], lr: float) -> None:
    """Start all optimizers' schedules anew from a learning rate."""
    for optimizer, scheduler in zip(optimizers, schedulers):
        for group in optimizer.param_groups:
            group['lr'] = group['initial_lr'] = lr
        scheduler.base_lrs = [lr] * len(scheduler.base_lrs)
