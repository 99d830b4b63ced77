"""A norm of each pixel over its channels, with a factor and no shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dinoir_plugin.nn.layer_norm import layer_norm

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
        return layer_norm(x, self.g.flatten(), None, EPS)
