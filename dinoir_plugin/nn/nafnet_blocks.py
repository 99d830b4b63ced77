"""NAFNet's blocks and the shape in which they stand (Chen et al., ECCV 2022, arXiv 2204.04676), from the paper.

Parameter names are those of the authors' release. Features stay channels_last; the channel attention's weights and the
residual scales are folded into the 1x1 convolutions beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.layer_norm import ChannelLayerNorm
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


class NAFBranches(UsesStatistics):
    """Hold the two branches of a NAFNet block without their norms.

    The first is a 1x1, a depthwise 3x3, a gate (SimpleGate), simplified channel attention (SCA) and a 1x1; the second
    a 1x1, the gate and a 1x1. ``beta`` and ``gamma`` scale the branches, a number for each channel, and start at zero.

    Args:
        dim: C.
        att: Stands in the place of SCA, for a block that says itself what its attention is.
    """

    def __init__(self, dim: int, att: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim * 2, 1)
        self.conv2 = nn.Conv2d(dim * 2, dim * 2, 3, padding=1, groups=dim * 2)
        self.conv3 = nn.Conv2d(dim, dim, 1)
        if att is None:
            self.sca: Any = channel_attention(dim)
        else:
            self.att: Any = att
        self.conv4 = nn.Conv2d(dim, dim * 2, 1)
        self.conv5 = nn.Conv2d(dim, dim, 1)
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def attended(self, normed: Tensor, *others: Any) -> Tensor:
        """Give the first branch of (B, H, W, C), normalised; the same shape. ``others`` are for the attention."""
        features = gated(depthwise(self.conv2, pointwise(self.conv1, normed)))
        return self.over_windows(features, normed.shape[-1], lambda part, window: self.attention(part, *others))

    def attention(self, features: Tensor, *others: Any) -> Tensor:
        """Compute ``beta * conv3(SCA(x))`` of (B, H, W, C); the same shape."""
        return self.by_channels(features, self.sca[1])

    def by_channels(self, features: Tensor, sca: nn.Conv2d) -> Tensor:
        """Compute ``beta * conv3(x * sca(mean(x)))``: attention scales the columns of each image's weight."""
        batch, height, width, dim = features.shape
        attention = F.linear(features.mean(dim=(1, 2)), sca.weight.flatten(1), sca.bias)
        weight, bias = scaled(self.conv3, self.beta)
        weights = weight * attention[:, None, :]
        out = torch.baddbmm(bias.expand(batch, 1, dim), features.reshape(batch, -1, dim), weights.transpose(1, 2))
        return out.view(batch, height, width, dim)

    def fed_forward(self, normed: Tensor) -> Tensor:
        """Give the second branch of (..., C), normalised; the same shape."""
        return F.linear(gated(pointwise(self.conv4, normed)), *scaled(self.conv5, self.gamma))


class NAFBlock(NAFBranches):
    """Add two branches without activation functions, each with a norm before."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.norm1 = ChannelLayerNorm(dim, eps=NORM_EPS)
        self.norm2 = ChannelLayerNorm(dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W), channels_last in and out."""
        x = x.permute(0, 2, 3, 1)
        if self.window_share is None and works_in_strips(x, factor=2):
            return self._in_strips(x).permute(0, 3, 1, 2)
        x = x + self.attended(self.norm1(x))
        x = x + self.fed_forward(self.norm2(x))
        return x.permute(0, 3, 1, 2)

    @torch.compiler.disable
    def _in_strips(self, x: Tensor) -> Tensor:
        features = torch.empty_like(x)

        def project(pixels: Tensor, out: Tensor) -> None:
            project_into(self.conv1, self.norm1(pixels), out)

        for number, rows, hidden in convolved_strips(x, project, self.conv2):
            torch.mul(*hidden.chunk(2, dim=-1), out=features[number, rows])
        x = self.attention(features).add_(x)
        rows_at_once = max(1, STRIP_ELEMENTS // x[:, 0].numel())
        for part in x.split(rows_at_once, dim=1):
            part += self.fed_forward(self.norm2(part))
        return x


def gated(x: Tensor) -> Tensor:
    """Multiply the halves of the last dimension with each other (SimpleGate)."""
    first, second = x.chunk(2, dim=-1)
    return first * second


def channel_attention(dim: int) -> nn.Sequential:
    """Make simplified channel attention: a mean over all pixels and a 1x1 convolution, which the features multiply."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, dim, 1))


def scaled(conv: Any, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Give weight (as a matrix) and bias of a 1x1 convolution whose outputs are scaled channel by channel."""
    scale = scale.flatten()
    return conv.weight.flatten(1) * scale[:, None], conv.bias * scale


class _Upsample(nn.Sequential):
    def __init__(self, dim: int) -> None:
        super().__init__(nn.Conv2d(dim, dim * 2, 1, bias=False), nn.PixelShuffle(2))


class _Blocks(nn.Sequential):
    """Blocks in a row, each of which takes what is handed on beside the feature."""

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        for block in self:
            x = block(x, *others)
        return x


class NAFShape(nn.Module):
    """Hold blocks at a size that halves level by level and doubles again, with skips that are added.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        width: Width at full size; it doubles with each halving.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each encoder level, from full size down.
        dec_blk_nums: Blocks of each decoder level, from the lowest up; as many levels as the encoder.
        make: From a width to a block.
        make_middle: The same for the blocks at the lowest level; None: as ``make``.

    Attributes:
        size_multiple: Sides are padded to multiples of this, 2 for each level.
        pad_mode: What is added holds nothing; other networks mirror the image.

    Raises:
        OptionsError: Encoder and decoder have different numbers of levels.
    """

    pad_mode = 'zeros'

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        middle_blk_num: int,
        enc_blk_nums: Sequence[int],
        dec_blk_nums: Sequence[int],
        make: Callable[[int], nn.Module] = NAFBlock,
        make_middle: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if len(enc_blk_nums) != len(dec_blk_nums):
            problem = f'expected {len(enc_blk_nums)} numbers, one a level of enc_blk_nums, got {len(dec_blk_nums)}'
            raise OptionsError('dec_blk_nums', problem)
        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, out_channels, 3, padding=1)
        self.encoders = nn.ModuleList()
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for count in enc_blk_nums:
            self.encoders.append(_Blocks(*[make(width) for _ in range(count)]))
            self.downs.append(nn.Conv2d(width, width * 2, 2, stride=2))
            width *= 2
        self.middle_blks = _Blocks(*[(make_middle or make)(width) for _ in range(middle_blk_num)])
        for count in dec_blk_nums:
            self.ups.append(_Upsample(width))
            width //= 2
            self.decoders.append(_Blocks(*[make(width) for _ in range(count)]))
        self.size_multiple = 2 ** len(enc_blk_nums)

    def padded(self, image: Tensor) -> Tensor:
        """Fill (B, C, H, W) up with zeros at the right and at the bottom, channels_last."""
        height, width = image.shape[-2:]
        padding = (0, -width % self.size_multiple, 0, -height % self.size_multiple)
        return F.pad(image, padding).contiguous(memory_format=torch.channels_last)

    def through(self, image: Tensor, *others: Any) -> Tensor:
        """Take (B, in_channels, H, W), padded, to (B, out_channels, H, W); blocks get ``others`` as well."""
        x = self.intro(image)
        skips = []
        for encoder, down in zip(self.encoders, self.downs):
            x = encoder(x, *others)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x, *others)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(skips)):
            x = up(x).contiguous(memory_format=torch.channels_last) + skip
            x = decoder(x, *others)
        return self.ending(x)
