"""DnCNN as its paper's equations are written, on the weights of a package network.

Each convolution is a sum over its nine taps, which a dilation moves apart; batch norm and ReLU are their formulas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def textbook_dncnn(net: Any, image: Tensor) -> Tensor:
    """Run ``net`` on (B, C, H, W) in [0, 1]; its batch norms work in the mode that it is in."""
    return image - textbook_stack(net.model, image)


def textbook_stack(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Run convolutions of 3x3, dilated or not, batch norms and ReLUs one after the other on (B, C, H, W)."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = _convolution(layer, x)
        elif isinstance(layer, nn.BatchNorm2d):
            x = _batch_norm(layer, x)
        else:  # ReLU
            x = torch.where(x > 0, x, torch.zeros_like(x))
    return x


def _convolution(layer: Any, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    reach = layer.dilation[0]
    framed = x.new_zeros(batch, channels, height + 2 * reach, width + 2 * reach)
    framed[:, :, reach:-reach, reach:-reach] = x
    out = layer.bias[:, None, None].expand(batch, -1, height, width)
    for row in range(3):
        for column in range(3):
            top, left = row * reach, column * reach
            shifted = framed[:, :, top : top + height, left : left + width]
            out = out + torch.einsum('oc,bchw->bohw', layer.weight[:, :, row, column], shifted)
    return out


def _batch_norm(layer: Any, x: Tensor) -> Tensor:
    mean, variance = layer.running_mean, layer.running_var
    if layer.training:
        mean = x.mean((0, 2, 3))
        variance = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
    normed = (x - mean[:, None, None]) / torch.sqrt(variance + layer.eps)[:, None, None]
    return normed * layer.weight[:, None, None] + layer.bias[:, None, None]
