"""EMA weights: the average of a network's weights over the steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Averages:
    """Keep a network's averages up to date, all parameters in one call.

    Most of the time of a loop over them is spent between the numbers. The lists are kept, because walking the modules
    costs as much as the arithmetic. Buffers, the running statistics of batch norms, are taken over as they are:
    averages already.

    Args:
        kept: The network that holds the averages.
        network: The one that learns, without its wrapper.
    """

    def __init__(self, kept: nn.Module, network: nn.Module) -> None:
        self._averages = [parameter.detach() for parameter in kept.parameters()]
        self._weights = [parameter.detach() for parameter in network.parameters()]
        self._buffers = list(zip(kept.buffers(), network.buffers()))

    def update(self, decay: float, made: Tensor | None = None) -> None:
        """Compute ``decay * average + (1 - decay) * weight``.

        Args:
            decay: From 0 to 1.
            made: 1 where the step was made and 0 where it was left out, which leaves the averages alone; a scalar on
                the device. None: it was made.
        """
        if made is None:
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        else:
            differences = list(torch._foreach_sub(self._weights, self._averages))
            torch._foreach_mul_(differences, made * (1 - decay))
            torch._foreach_add_(self._averages, differences)
        for average, buffer in self._buffers:
            average.copy_(buffer)
