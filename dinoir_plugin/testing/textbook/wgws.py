"""WGWS-Net as its paper describes it, on the weights of a package network.

Every branch is a convolution of its own, added to that of the frozen weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.nn.wgws_blocks import WeatherConv


def textbook_wgws(net: Any, image: Tensor, flag: Sequence[float] = ()) -> Tensor:
    """Run ``net`` on (B, 3, H, W), RGB in [0, 1], whose sides 4 divides; ``flag`` in stage 2."""

    def conv(module: Any, x: Tensor) -> Tensor:
        layer = module.layer
        if isinstance(layer, WeatherConv):
            out = _branches(layer, x, flag)
        else:
            out = layer(x)
        return F.gelu(out) if module.activated else out

    def level(module: Any, x: Tensor) -> Tensor:
        for block in module.children():
            dense = x
            for layer in (block.conv0, block.conv1, block.conv2):
                dense = torch.cat([dense, conv(layer.conv, dense)], dim=1)
            x = conv(block.LFF, dense) + x
        return x

    def beside(module: Any, x: Tensor) -> Tensor:
        y = x
        for layer in (module.layer1, module.layer2, module.layer3, module.layer4):
            y = conv(layer, y)
        return conv(module.conv, torch.cat([x, y], dim=1))

    def fused(module: Any, *features: Tensor) -> Tensor:
        return conv(module.conv2, conv(module.conv1, torch.cat(features, dim=1)))

    def sized(x: Tensor, factor: float) -> Tensor:
        return F.interpolate(x, scale_factor=factor, mode='nearest')

    half = sized(image, 0.5)
    quarter = sized(half, 0.5)
    first = level(net.Encoder[0], conv(net.feat_extract[0], image))
    x = conv(net.feat_extract[1], first)
    second = level(net.Encoder[1], x + conv(net.FAM2.merge, x * beside(net.SCM2, half)))
    x = conv(net.feat_extract[2], second)
    third = level(net.Encoder[2], x + conv(net.FAM1.merge, x * beside(net.SCM1, quarter)))
    top = fused(net.AFFs[0], first, sized(second, 2), sized(third, 4))
    middle = fused(net.AFFs[1], sized(first, 0.5), second, sized(third, 2))
    x = level(net.Decoder[0], fused(net.AFFs[2], sized(first, 0.25), sized(second, 0.5), third))
    x = conv(net.Convs[0], torch.cat([conv(net.feat_extract[3], x), middle], dim=1))
    x = level(net.Decoder[1], x)
    x = conv(net.Convs[1], torch.cat([conv(net.feat_extract[4], x), top], dim=1))
    return conv(net.feat_extract[5], level(net.Decoder[2], x)) + image


def _branches(layer: WeatherConv, x: Tensor, flag: Sequence[float]) -> Tensor:
    out = F.conv2d(x, layer.weight, None, layer.stride, layer.padding)
    for number, share in enumerate(flag, start=1):
        residual, indicator = layer.get_parameter(f'B{number}_residual'), layer.indicator(number)
        mask = _straight_through(indicator)
        padding = residual.shape[-1] // 2
        out = out + share * mask * F.conv2d(x, residual, None, layer.stride, padding)
    return out


def _straight_through(indicator: Tensor) -> Tensor:
    """Give 1 from 0.1 up and 0 below, with the gradient of the indicator itself."""
    return (indicator >= 0.1).to(indicator) - indicator.detach() + indicator
