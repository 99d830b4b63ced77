"""Convolutions of features kept as (B, H, W, C), the layout in which a 1x1 convolution is one matrix product."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution of (B, H, W, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A depthwise convolution of (B, H, W, C), which seen as (B, C, H, W) is channels_last."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
