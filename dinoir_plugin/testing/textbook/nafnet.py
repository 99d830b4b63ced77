"""NAFNet as its paper's equations are written, on the weights of a package network.

NCHW, every 1x1 convolution a convolution, scales and channel attention as products of whole features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def textbook_nafnet(net: Any, image: Tensor) -> Tensor:
    """Run ``net`` on (B, 3, H, W), RGB in [0, 1], whose sides ``net.size_multiple`` divides."""
    x = net.intro(image)
    skips = []
    for encoder, down in zip(net.encoders, net.downs):
        x = _blocks(encoder, x)
        skips.append(x)
        x = down(x)
    x = _blocks(net.middle_blks, x)
    for decoder, up, skip in zip(net.decoders, net.ups, reversed(skips)):
        x = _blocks(decoder, F.pixel_shuffle(up[0](x), 2) + skip)
    return net.ending(x) + image


def _blocks(level: Any, x: Tensor) -> Tensor:
    for block in level:
        y = block.conv2(block.conv1(_norm(block.norm1, x)))
        first, second = y.chunk(2, dim=1)
        y = first * second
        y = y * block.sca(y)
        x = x + block.conv3(y) * block.beta
        first, second = block.conv4(_norm(block.norm2, x)).chunk(2, dim=1)
        x = x + block.conv5(first * second) * block.gamma
    return x


def _norm(norm: Any, x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    normed = (x - mean) / torch.sqrt(variance + norm.eps)
    return norm.weight.view(1, -1, 1, 1) * normed + norm.bias.view(1, -1, 1, 1)
