"""A norm of each pixel over its channels, with a factor and no shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5


class ChannelNorm(nn.Module):
    """Normalise the last dimension: ``(x - mean) / sqrt(variance + 1e-5) * g``, with the biased variance.

    Mean and variance are taken in float32 at least, whatever the type of the feature.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same."""
        return F.layer_norm(x, x.shape[-1:], self.g.flatten(), None, EPS)
