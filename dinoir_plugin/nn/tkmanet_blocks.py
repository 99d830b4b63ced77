"""Blocks of TKMANet's network, MSBDN-RDFF (Dong et al., CVPR 2020, arXiv 2004.13388), written from the paper.

Parameter names are those of the authors' releases. Features are (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESIDUAL_SCALE = 0.1
DENSE_LAYERS = 4


class ConvLayer(nn.Module):
    """Convolve, with mirrored pixels around the feature."""

    def __init__(self, width: int, out: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv2d = nn.Conv2d(width, out, kernel_size, stride, padding, padding_mode='reflect')

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, width, H, W) to (B, out, H / stride, W / stride)."""
        return self.conv2d(x)


class UpsampleConvLayer(nn.Module):
    """Double the size by a transposed convolution."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv2d = nn.ConvTranspose2d(width, out, 3, stride=2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Take (B, width, H, W) to the shape of ``skip``, (B, out, 2 H, 2 W); a pixel too many is resized away."""
        return F.interpolate(self.conv2d(x), size=skip.shape[-2:], mode='bilinear', align_corners=False)


class ResidualBlock(nn.Module):
    """Add to a feature a tenth of two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(width, width, 3)
        self.conv2 = ConvLayer(width, width, 3)
        self.relu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W)."""
        return torch.add(x, self.conv2(self.relu(self.conv1(x))), alpha=RESIDUAL_SCALE)


def residual_blocks(width: int, count: int = 3) -> nn.Sequential:
    """Make blocks in a row."""
    return nn.Sequential(*[ResidualBlock(width) for _ in range(count)])


class DenseLayer(nn.Module):
    """Put behind a feature a convolution of it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, width, H, W) to (B, width + growth, H, W)."""
        return torch.cat([x, F.relu(self.conv(x))], dim=1)


class RDB(nn.Module):
    """Add to a feature what densely connected convolutions make of it (residual dense block)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [DenseLayer(width * (number + 1), width) for number in range(DENSE_LAYERS)]
        self.dense_layers = nn.Sequential(*layers)
        self.conv_1x1 = nn.Conv2d(width * (DENSE_LAYERS + 1), width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W)."""
        return x + self.conv_1x1(self.dense_layers(x))


class DeconvBlock(nn.Module):
    """Double the size."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(width, out, 4, stride=2, padding=1)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, width, H, W) to (B, out, 2 H, 2 W)."""
        return self.act(self.deconv(x))


class ConvBlock(nn.Module):
    """Halve the size."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, 4, stride=2, padding=1)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, width, H, W) to (B, out, H / 2, W / 2)."""
        return self.act(self.conv(x))


class EncoderFusion(nn.Module):
    """Correct a feature by those of all higher levels: by what it lacks of each, once it is taken there.

    Args:
        width: Of the feature; it halves with each doubling of the size.
        levels: That there are above.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        widths = [width // 2**number for number in range(levels + 1)]
        self.up_convs = nn.ModuleList(map(DeconvBlock, widths, widths[1:]))
        self.down_convs = nn.ModuleList(map(ConvBlock, widths[1:], widths))

    def forward(self, x: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Correct (B, C, H, W) by ``others``, the furthest first: (B, C / 2^levels, H * 2^levels, ...) and so on."""
        return _fused(x, others, self.up_convs, self.down_convs)


class DecoderFusion(nn.Module):
    """Correct a feature by those of all lower levels; see :class:`EncoderFusion`.

    Args:
        width: Of the feature; it doubles with each halving of the size.
        levels: That there are below.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**number for number in range(levels + 1)]
        self.down_convs = nn.ModuleList(map(ConvBlock, widths, widths[1:]))
        self.up_convs = nn.ModuleList(map(DeconvBlock, widths[1:], widths))

    def forward(self, x: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Correct (B, C, H, W) by ``others``, the furthest first: (B, C * 2^levels, H / 2^levels, ...) and so on."""
        return _fused(x, others, self.down_convs, self.up_convs)


def _fused(x: Tensor, others: Sequence[Tensor], there: nn.ModuleList, back: nn.ModuleList) -> Tensor:
    for number, other in enumerate(others):
        steps = len(others) - number
        difference = x
        for layer in there[:steps]:
            difference = layer(difference)
        difference = difference - other
        for layer in reversed(back[:steps]):
            difference = layer(difference)
        x = x + difference
    return x
