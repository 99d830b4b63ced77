"""BRDNet as its paper draws it, on the weights of a package network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

UPPER = ['CBR'] * 16 + ['C']
LOWER = ['CBR', *['DR'] * 7, 'CBR', *['DR'] * 6, 'CBR', 'C']


def textbook_brdnet(net: Any, image: Tensor) -> Tensor:
    """Run ``net`` on (B, C, H, W) in [0, 1] in its mode: convolution (C, dilated D), batch renorm (B), ReLU (R)."""
    convolutions, norms = iter(range(1, 36)), iter(range(1, 20))
    branches = []
    for layers in (UPPER, LOWER):
        x = image
        for kinds in layers:
            layer = net.get_submodule(f'conv2d_{next(convolutions)}')
            reach = 2 if 'D' in kinds else 1
            x = F.conv2d(F.pad(x, (reach,) * 4), layer.weight, layer.bias, dilation=reach)
            if 'B' in kinds:
                x = _normed(net.get_submodule(f'batch_renormalization_{next(norms)}'), x)
            if 'R' in kinds:
                x = x.relu()
        branches.append(image - x)
    last = net.get_submodule(f'conv2d_{next(convolutions)}')
    return image - F.conv2d(torch.cat(branches, 1), last.weight, last.bias, padding=1)


def _normed(norm: Any, x: Tensor) -> Tensor:
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    mean, variance, gamma, beta = (v[:, None, None] for v in (mean, variance, norm.weight, norm.bias))
    return (x - mean) / torch.sqrt(variance + norm.eps) * gamma + beta
