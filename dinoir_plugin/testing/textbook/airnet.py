"""AirNet's restorer as its paper draws it, on the weights of a package network, with torchvision's operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

SLOPE = 0.1


def textbook_airnet(net: Any, image: Tensor) -> Tensor:
    """Run ``net`` on (B, 3, H, W) in [0, 1]; its batch norms work in the mode that it is in."""
    degradation = net.E.E.encoder_q.E_pre(image)
    features = _convolved(net.R.head[0], image)
    deep = features
    for group in list(net.R.body)[:-1]:
        inner = deep
        for block in list(group.body)[:-1]:
            inner = _block(block, inner, degradation)
        deep = deep + _convolved(group.body[-1], inner)
    return _convolved(net.R.tail[0], features + _convolved(net.R.body[-1], deep))


def _block(block: Any, x: Tensor, degradation: Tensor) -> Tensor:
    inner = F.leaky_relu(_guided(block.dgm1, x, degradation), SLOPE)
    inner = F.leaky_relu(_convolved(block.conv1, inner), SLOPE)
    inner = F.leaky_relu(_guided(block.dgm2, inner, degradation), SLOPE)
    return x + _convolved(block.conv2, inner)


def _guided(module: Any, x: Tensor, degradation: Tensor) -> Tensor:
    """Add the deformable convolution, its offsets and mask from both, and the modulation from the degradation."""
    first, second, third = _convolved(module.dcn.conv_offset_mask, torch.cat([x, degradation], 1)).chunk(3, 1)
    offsets = torch.cat([first, second], 1)
    moved = deform_conv2d(x, offsets, module.dcn.weight, padding=1, mask=torch.sigmoid(third))
    gamma, beta = (
        F.conv2d(F.leaky_relu(F.conv2d(degradation, pair[0].weight), SLOPE), pair[2].weight)
        for pair in (module.sft.conv_gamma, module.sft.conv_beta)
    )
    return x + moved + x * gamma + beta


def _convolved(layer: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=1)
