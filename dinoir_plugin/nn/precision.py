"""Statistics keep their digits under half precision: sums over many pixels are taken in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_type(x: Tensor) -> torch.dtype:
    """Give float32, or float64 where ``x`` is that."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def full(x: Tensor) -> Tensor:
    """Give ``x`` in float32, or in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Open a context in which autocast leaves the arithmetic on the device of ``x`` alone."""
    # the meta device, on which widths are found, knows no autocast
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def share(x: Tensor, pixels: int) -> float:
    """Give the factor that goes into sums over ``pixels`` of products: fp16 cannot hold them, but their mean."""
    return 1 / pixels if x.dtype == torch.float16 else 1.0


def norms(x: Tensor) -> Tensor:
    """Compute the length of each channel over space, from (B, N, C) to (B, C), in float32 at least."""
    if x.device.type == 'cpu' and x.dtype == full_type(x):
        return x.square().sum(dim=1).sqrt()  # six times as fast there
    return torch.linalg.vector_norm(x, dim=1, dtype=full_type(x))
