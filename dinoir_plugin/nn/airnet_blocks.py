"""AirNet's two parts (Li et al., CVPR 2022): what restores, and what encodes the degradation that it is guided by."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.nn.deform_conv import modulated_deform_conv

SLOPE = 0.1  # of all leaky ReLUs
KERNEL = 3
TAPS = KERNEL * KERNEL


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, KERNEL, padding=KERNEL // 2)


def _pointwise_pair(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 1, bias=False), nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 1, bias=False)
    )


class DeformConv(nn.Module):
    """Convolve a feature with taps that the degradation moves and weights; starts with taps in place, weighted 1/2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, KERNEL, KERNEL))
        self.conv_offset_mask = _conv(width * 2, 3 * TAPS)
        bound = 1 / math.sqrt(width * TAPS)
        nn.init.uniform_(self.weight, -bound, bound)
        for parameter in self.conv_offset_mask.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, degradation: Tensor) -> Tensor:
        """Convolve (B, C, H, W); ``degradation`` has the same shape."""
        moves = self.conv_offset_mask(torch.cat([x, degradation], dim=1))
        offset, mask = moves.split([2 * TAPS, TAPS], dim=1)
        return modulated_deform_conv(x, offset, mask.sigmoid(), self.weight)


class SFT(nn.Module):
    """Scale and shift a feature at each pixel, as the degradation says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_gamma = _pointwise_pair(width)
        self.conv_beta = _pointwise_pair(width)

    def forward(self, x: Tensor, degradation: Tensor) -> Tensor:
        """Modulate (B, C, H, W); ``degradation`` has the same shape."""
        return torch.addcmul(self.conv_beta(degradation), x, self.conv_gamma(degradation))


class DGM(nn.Module):
    """Add to a feature what a deformable convolution and a modulation make of it (degradation-guided module)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dcn = DeformConv(width)
        self.sft = SFT(width)

    def forward(self, x: Tensor, degradation: Tensor) -> Tensor:
        """Transform (B, C, H, W); ``degradation`` has the same shape."""
        out: Tensor = x + self.dcn(x, degradation) + self.sft(x, degradation)
        return out


class DGB(nn.Module):
    """Two modules, each followed by a convolution, around which the feature goes as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dgm1, self.dgm2 = DGM(width), DGM(width)
        self.conv1, self.conv2 = _conv(width, width), _conv(width, width)

    def forward(self, x: Tensor, degradation: Tensor) -> Tensor:
        """Transform (B, C, H, W); ``degradation`` has the same shape."""
        inner = F.leaky_relu(self.dgm1(x, degradation), SLOPE)
        inner = F.leaky_relu(self.conv1(inner), SLOPE)
        inner = F.leaky_relu(self.dgm2(inner, degradation), SLOPE)
        out: Tensor = self.conv2(inner) + x
        return out


class DGG(nn.Module):
    """Blocks in a row and a convolution, around which the feature goes as well."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.body = nn.ModuleList([*(DGB(width) for _ in range(blocks)), _conv(width, width)])

    def forward(self, x: Tensor, degradation: Tensor) -> Tensor:
        """Transform (B, C, H, W); ``degradation`` has the same shape."""
        return _through(self.body, x, degradation)


class DGRN(nn.Module):
    """Restore an image, guided by a map of its degradation; the image itself is not added.

    Args:
        width: Channels of all features and of the map.
        groups: How many.
        blocks: In each group.
    """

    def __init__(self, width: int, groups: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Sequential(_conv(3, width))
        self.body = nn.ModuleList([*(DGG(width, blocks) for _ in range(groups)), _conv(width, width)])
        self.tail = nn.Sequential(_conv(width, 3))

    def forward(self, x: Tensor, degradation: Tensor) -> Tensor:
        """Restore (B, 3, H, W); ``degradation`` is (B, width, H, W)."""
        out: Tensor = self.tail(_through(self.body, self.head(x), degradation))
        return out


def _through(body: nn.ModuleList, x: Tensor, degradation: Tensor) -> Tensor:
    """Run blocks and the convolution at their end on (B, C, H, W), and add the input."""
    *blocks, convolution = body
    inner = x
    for block in blocks:
        inner = block(inner, degradation)
    out: Tensor = convolution(inner) + x
    return out


class ResBlock(nn.Module):
    """Add two convolutions with batch norms to a shortcut, a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, H, W) to (B, D, H / stride, W / stride), rounded up."""
        return F.leaky_relu(self.backbone(x) + self.shortcut(x), SLOPE)


class ResEncoder(nn.Module):
    """Encode the degradation of an image: a map at full size and a vector.

    Args:
        widths: Channels at full, half and quarter size.
        dim: Of the vector.
    """

    def __init__(self, widths: tuple[int, int, int], dim: int) -> None:
        super().__init__()
        full, half, quarter = widths
        self.E_pre = ResBlock(3, full, 1)
        self.E = nn.Sequential(
            ResBlock(full, half, 2), ResBlock(half, quarter, 2), nn.AdaptiveAvgPool2d(1)
        )
        self.mlp = nn.Sequential(nn.Linear(quarter, dim), nn.LeakyReLU(SLOPE), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B, 3, H, W): the map, (B, widths[0], H, W), and the vector, (B, dim), not normalised."""
        degradation = self.E_pre(x)
        return degradation, self.mlp(self.E(degradation).flatten(1))
