"""Sines and cosines of a time, for networks that remove noise step by step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dinoir_plugin.nn.precision import full, full_type

SLOWEST = 1e4  # waves are up to this many times as long as the first


class TimeEmbedding(nn.Module):
    """Describe a time by the sines, then the cosines, of ``dim / 2`` frequencies from 1 down to 1e-4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, time: Tensor) -> Tensor:
        """Map times (B,) to (B, dim), computed in float32 at least, in the type of ``time``."""
        count = self.dim // 2
        places = torch.arange(count, device=time.device, dtype=full_type(time))
        angles = full(time)[:, None] * (places * (-math.log(SLOWEST) / (count - 1))).exp()
        return torch.cat([angles.sin(), angles.cos()], dim=1).to(time.dtype)
