"""How each task of a mixed training set is doing, between two lines of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor


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

    def add(self, tasks: Sequence[str], output: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            tasks: Name of each sample's task; nothing is counted where the loader gives none.
            output: (B, C, H, W).
            target: The same shape.
        """
        if not self._numbers or len(tasks) != len(output):
            return
        numbers = torch.tensor([self._numbers[name] for name in tasks], device=self._sums.device)
        errors = (output.detach().float() - target).abs().mean(dim=(1, 2, 3))
        self._sums[0].index_add_(0, numbers, errors)
        self._sums[1].index_add_(0, numbers, torch.ones_like(errors))

    def state(self) -> Tensor:
        """Give the sums so far, for a checkpoint."""
        return self._sums.cpu()

    def load(self, state: Tensor) -> None:
        """Go on from what :meth:`state` gave, unless that was with other tasks."""
        if state.shape == self._sums.shape:
            self._sums = state.to(self._sums.device)

    def means(self, reduce: Callable[[Mapping[str, Tensor]], Mapping[str, float]]) -> dict[str, float]:
        """Give ``l1/<task>`` of the tasks that had samples since the last call, and start anew.

        Args:
            reduce: Averages named scalars over ranks, all of which call this method together.
        """
        if not self._numbers:
            return {}
        errors, samples = self._sums
        named = {f'0/{name}': errors[number] for name, number in self._numbers.items()}
        named.update((f'1/{name}', samples[number]) for name, number in self._numbers.items())
        averages = reduce(named)
        self._sums = torch.zeros_like(self._sums)
        return {
            f'l1/{name}': averages[f'0/{name}'] / averages[f'1/{name}']
            for name in self._numbers
            if averages[f'1/{name}'] > 0
        }
