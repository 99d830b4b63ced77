"""Parameters that a forward pass leaves out in one phase of training and needs in another."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def joined(x: Tensor, unreached: Iterable[Tensor]) -> Tensor:
    """Give ``x`` with the same values, and zeros as gradients of ``unreached``.

    DistributedDataParallel waits for the gradients of all parameters; zeros are also what an optimizer is given that
    knows nothing of phases.

    Args:
        x: Small for preference, as it is copied.
        unreached: Finite values, of any shapes.
    """
    return x + 0 * torch.stack([value.sum() for value in unreached]).sum().to(x.dtype)
