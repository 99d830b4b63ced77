"""The shape of Restormer (Zamir et al., CVPR 2022, arXiv 2111.09881): its levels, what lies between, and its way down.

Parameter names are those of the authors' release.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.nn.restormer_blocks import LAYER_NORMS, TransformerBlock


class PatchEmbed(nn.Module):
    """Turn an image into features by a 3x3 convolution."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, in_channels, H, W) to (B, dim, H, W)."""
        return self.proj(x)


class Resample(nn.Module):
    """Halve the size and double the width, or the reverse, by a convolution and a pixel (un)shuffle."""

    def __init__(self, dim: int, out_dim: int, shuffle: nn.Module, bias: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(dim, out_dim, 3, padding=1, bias=bias), shuffle)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, dim, H, W) to (B, out_dim * 4, H / 2, W / 2) or (B, out_dim / 4, H * 2, W * 2), channels_last."""
        return self.body(x).contiguous(memory_format=torch.channels_last)


def downsample(dim: int, bias: bool = False) -> Resample:
    """Make what takes (B, dim, H, W) to (B, 2 * dim, H / 2, W / 2)."""
    return Resample(dim, dim // 2, nn.PixelUnshuffle(2), bias)


def upsample(dim: int, bias: bool = False) -> Resample:
    """Make what takes (B, dim, H, W) to (B, dim / 2, 2 * H, 2 * W)."""
    return Resample(dim, dim * 2, nn.PixelShuffle(2), bias)


class Levels(NamedTuple):
    """Hold what the blocks of a network's four levels have in common.

    Attributes:
        num_blocks: Blocks of level 1, 2, 3 and of the latent level.
        heads: Attention heads of level 1, 2, 3 and of the latent level.
        ffn_expansion_factor: Hidden width of the feed-forward network over the level's width.
        bias: Whether convolutions have a bias.
        norm: One of LAYER_NORMS.
    """

    num_blocks: Sequence[int]
    heads: Sequence[int]
    ffn_expansion_factor: float
    bias: bool
    norm: str

    def check(self, dim: int) -> None:
        """Raise OptionsError, named as Restormer's arguments are, where a network of width ``dim`` cannot be built."""
        if self.norm not in LAYER_NORMS:
            raise OptionsError('LayerNorm_type', f"there is no '{self.norm}'", nearest(str(self.norm), LAYER_NORMS))
        for key, value in (('num_blocks', self.num_blocks), ('heads', self.heads)):
            if len(value) != 4:
                raise OptionsError(key, f'expected 4 numbers (level 1, 2, 3, latent), got {list(value)}')
        widths = [dim, dim * 2, dim * 4, dim * 8]
        if dim % 2 or any(width % count for width, count in zip(widths, self.heads)) or (dim * 2) % self.heads[0]:
            expected = f"expected divisors of the levels' widths {widths} (and an even dim)"
            raise OptionsError('heads', f'{expected}, got {list(self.heads)}')

    def block(self, index: int, dim: int) -> TransformerBlock:
        """Make a block of ``dim`` channels with the heads of level ``index``, counted from zero."""
        return TransformerBlock(dim, self.heads[index], self.ffn_expansion_factor, self.bias, self.norm)

    def level(self, index: int, dim: int, count: int | None = None) -> nn.Sequential:
        """Make the blocks of level ``index``, or ``count`` blocks like those."""
        count = self.num_blocks[index] if count is None else count
        return nn.Sequential(*[self.block(index, dim) for _ in range(count)])


def check_residual(inp_channels: int, out_channels: int) -> None:
    """Raise OptionsError where output and input, which are added, have not as many channels."""
    if out_channels != inp_channels:
        problem = f'expected {inp_channels} like inp_channels, as the output is added to the input, got {out_channels}'
        raise OptionsError('out_channels', problem)


class RestormerEncoder(nn.Module):
    """Take an image down to the latent level; networks add the way up.

    Args:
        inp_channels: Channels of the input.
        dim: Width at full size; it doubles with each of the three halvings.
        levels: Of the blocks.

    Raises:
        OptionsError: Levels that cannot be built.
    """

    size_multiple = 8

    def __init__(self, inp_channels: int, dim: int, levels: Levels) -> None:
        super().__init__()
        levels.check(dim)
        self.patch_embed = PatchEmbed(inp_channels, dim)
        self.encoder_level1 = levels.level(0, dim)
        self.down1_2 = downsample(dim)
        self.encoder_level2 = levels.level(1, dim * 2)
        self.down2_3 = downsample(dim * 2)
        self.encoder_level3 = levels.level(2, dim * 4)
        self.down3_4 = downsample(dim * 4)
        self.latent = levels.level(3, dim * 8)

    def encoded(self, embedded: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give the features of all levels from what ``patch_embed`` gave.

        Args:
            embedded: (B, dim, H, W), channels_last, sides that ``size_multiple`` divides.

        Returns:
            Level 1 to 3 and the latent level: (B, dim, H, W) to (B, 8 * dim, H / 8, W / 8), channels_last.
        """
        level1 = self.encoder_level1(embedded)
        level2 = self.encoder_level2(self.down1_2(level1))
        level3 = self.encoder_level3(self.down2_3(level2))
        return level1, level2, level3, self.latent(self.down3_4(level3))
