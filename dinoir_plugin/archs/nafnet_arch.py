"""NAFNet (Chen et al., ECCV 2022, arXiv 2204.04676), written from the paper.

Parameter names are those of the authors' release, so their weights load with ``strict=True``. Features stay
channels_last; the channel attention's weights and the residual scales are folded into the 1x1 convolutions beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.local_statistics import UsesStatistics
from dinoir_plugin.nn.pixelwise import (
    STRIP_ELEMENTS,
    convolved_strips,
    depthwise,
    pointwise,
    project_into,
    works_in_strips,
)

NORM_EPS = 1e-6


class NAFBlock(UsesStatistics):
    """Add two branches without activation functions: a gate is the product of two halves (SimpleGate).

    The first branch is a 1x1, a depthwise 3x3, the gate, simplified channel attention (SCA) and a 1x1; the second a
    1x1, the gate and a 1x1. ``beta`` and ``gamma`` scale the branches, a number for each channel.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim * 2, 1)
        self.conv2 = nn.Conv2d(dim * 2, dim * 2, 3, padding=1, groups=dim * 2)
        self.conv3 = nn.Conv2d(dim, dim, 1)
        self.sca: Any = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, dim, 1))
        self.conv4 = nn.Conv2d(dim, dim * 2, 1)
        self.conv5 = nn.Conv2d(dim, dim, 1)
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W), channels_last in and out."""
        x = x.permute(0, 2, 3, 1)
        if self.window_share is None and works_in_strips(x, factor=2):
            return self._in_strips(x).permute(0, 3, 1, 2)
        x = x + self.over_windows(self._gated(x), x.shape[-1], lambda part, window: self._attended(part))
        x = x + self._fed_forward(x)
        return x.permute(0, 3, 1, 2)

    @torch.compiler.disable
    def _in_strips(self, x: Tensor) -> Tensor:
        gated = torch.empty_like(x)

        def project(pixels: Tensor, out: Tensor) -> None:
            project_into(self.conv1, self.norm1(pixels), out)

        for number, rows, hidden in convolved_strips(x, project, self.conv2):
            torch.mul(*hidden.chunk(2, dim=-1), out=gated[number, rows])
        x = self._attended(gated).add_(x)
        rows_at_once = max(1, STRIP_ELEMENTS // x[:, 0].numel())
        for part in x.split(rows_at_once, dim=1):
            part += self._fed_forward(part)
        return x

    def _gated(self, x: Tensor) -> Tensor:
        return _gate(depthwise(self.conv2, pointwise(self.conv1, self.norm1(x))))

    def _fed_forward(self, x: Tensor) -> Tensor:
        return F.linear(_gate(pointwise(self.conv4, self.norm2(x))), *_scaled(self.conv5, self.gamma))

    def _attended(self, gated: Tensor) -> Tensor:
        """Compute ``beta * conv3(SCA(gated))``, (B, H, W, C): attention scales the columns of each image's weight."""
        batch, height, width, dim = gated.shape
        attention = F.linear(gated.mean(dim=(1, 2)), self.sca[1].weight.flatten(1), self.sca[1].bias)
        weight, bias = _scaled(self.conv3, self.beta)
        weights = weight * attention[:, None, :]
        out = torch.baddbmm(bias.expand(batch, 1, dim), gated.reshape(batch, -1, dim), weights.transpose(1, 2))
        return out.view(batch, height, width, dim)


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return first * second


def _scaled(conv: Any, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Give weight (as a matrix) and bias of a 1x1 convolution whose outputs are scaled channel by channel."""
    scale = scale.flatten()
    return conv.weight.flatten(1) * scale[:, None], conv.bias * scale


class _Upsample(nn.Sequential):
    def __init__(self, dim: int) -> None:
        super().__init__(nn.Conv2d(dim, dim * 2, 1, bias=False), nn.PixelShuffle(2))


@ARCH_REGISTRY.register(suffix='basicsr')
class NAFNet(nn.Module):
    """Restore with NAFNet, with the authors' constructor and parameter names.

    Args:
        img_channel: Channels of input and output.
        width: Width at full size; it doubles with each halving.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each encoder level, from full size down.
        dec_blk_nums: Blocks of each decoder level, from the lowest up; as many levels as the encoder.

    Attributes:
        size_multiple: Sides are padded to multiples of this, 2 for each level.
        pad_mode: What is added holds nothing; other networks mirror the image.

    Raises:
        OptionsError: Encoder and decoder have different numbers of levels.
    """

    pad_mode = 'zeros'

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if len(enc_blk_nums) != len(dec_blk_nums):
            problem = f'expected {len(enc_blk_nums)} numbers, one a level of enc_blk_nums, got {len(dec_blk_nums)}'
            raise OptionsError('dec_blk_nums', problem)
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders = nn.ModuleList()
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for count in enc_blk_nums:
            self.encoders.append(nn.Sequential(*[NAFBlock(width) for _ in range(count)]))
            self.downs.append(nn.Conv2d(width, width * 2, 2, stride=2))
            width *= 2
        self.middle_blks = nn.Sequential(*[NAFBlock(width) for _ in range(middle_blk_num)])
        for count in dec_blk_nums:
            self.ups.append(_Upsample(width))
            width //= 2
            self.decoders.append(nn.Sequential(*[NAFBlock(width) for _ in range(count)]))
        self.size_multiple = 2 ** len(enc_blk_nums)

    def forward(self, inp: Tensor) -> Tensor:
        """Restore.

        Args:
            inp: (B, img_channel, H, W), [0, 1] by custom; any size. Sides that ``size_multiple`` does not divide are
                padded with zeros, as the authors do; their means in the channel attention include that border.

        Returns:
            (B, img_channel, H, W), not clipped.
        """
        height, width = inp.shape[-2:]
        padding = (0, -width % self.size_multiple, 0, -height % self.size_multiple)
        image = F.pad(inp, padding).contiguous(memory_format=torch.channels_last)
        x = self.intro(image)
        skips = []
        for encoder, down in zip(self.encoders, self.downs):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(skips)):
            x = up(x).contiguous(memory_format=torch.channels_last) + skip
            x = decoder(x)
        return (self.ending(x) + image)[..., :height, :width]
