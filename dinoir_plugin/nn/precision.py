"""Statistics keep their digits under half precision: sums over many pixels are taken in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """Give ``x`` in float32, or in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def no_autocast(x: Tensor) -> torch.autocast:
    """Open a context in which autocast leaves the arithmetic on the device of ``x`` alone."""
    return torch.autocast(x.device.type, enabled=False)
