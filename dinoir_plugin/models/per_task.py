"""How each task of a mixed training set is doing, between two lines of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from dinoir_plugin.models.batch import Batch


class PerTask:
    """Average the absolute error of each task's samples.

    Args:
        tasks: Names of the tasks of the training set; none for a set without tasks.
        device: Where outputs are.
    """

    def __init__(self, tasks: Iterable[str], device: torch.device) -> None:
        self._numbers = {name: number for number, name in enumerate(tasks)}
        # errors and samples, on the device so that a step waits for nothing
        self._sums = torch.zeros(2, len(self._numbers), device=device)

    @property
    def numbers(self) -> Mapping[str, int]:
        """Give the place of each task."""
        return self._numbers

    def add(self, batch: Batch, output: Tensor, made: Tensor | None) -> None:
        """Count a batch.

        Args:
            batch: Nothing is counted where it does not say its samples' tasks.
            output: (B, C, H, W).
            made: 1 where the step was made and 0 where it was left out, a scalar on the device; None: it was made.
        """
        if batch.task_numbers is None:
            return
        errors = (output.detach().float() - batch.target).abs().mean(dim=(1, 2, 3))
        values = torch.stack([errors, torch.ones_like(errors)])
        if made is not None:
            values = torch.where(made > 0, values, 0.0)
        self._sums.index_add_(1, batch.task_numbers, values)

    def state(self) -> Tensor:
        """Give the sums so far, for a checkpoint."""
        return self._sums.cpu()

    def load(self, state: Tensor) -> None:
        """Go on from what :meth:`state` gave, unless that was with other tasks."""
        if state.shape == self._sums.shape:
            self._sums.copy_(state)

    def means(self, reduce: Callable[[Mapping[str, Tensor]], Mapping[str, float]]) -> dict[str, float]:
        """Give ``l1/<task>`` of the tasks that had samples since the last call, and start anew.

        Args:
            reduce: Averages named scalars over ranks, all of which call this method together.
        """
        if not self._numbers:
            return {}
        errors, samples = self._sums.clone()
        self._sums.zero_()  # in place: a recorded step adds to this very tensor
        named = {f'0/{name}': errors[number] for name, number in self._numbers.items()}
        named.update((f'1/{name}', samples[number]) for name, number in self._numbers.items())
        averages = reduce(named)
        return {
            f'l1/{name}': averages[f'0/{name}'] / averages[f'1/{name}']
            for name in self._numbers
            if averages[f'1/{name}'] > 0
        }
