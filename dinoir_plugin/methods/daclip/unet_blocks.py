"""Parts of DA-CLIP's U-Net, written from the paper's description; names of parameters are those of the release.

Features are (B, C, H, W), channels_last in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.nn.channel_norm import ChannelNorm
from dinoir_plugin.nn.pixelwise import pointwise

HEADS, HEAD_WIDTH = 4, 32
# which rows of a 3x3 kernel fall on each of two pixels, for the upper and the lower half of a pixel twice as large
FOLD = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


class ResBlock(nn.Module):
    """Add two convolutions to a feature, the first one scaled and shifted by the time; no norm.

    Args:
        in_channels: Of the input; a 1x1 convolution takes it to ``out_channels`` where these differ.
        out_channels: Of the output.
        time_dim: Width of the time's embedding.
    """

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, out_channels * 2))
        self.block1 = nn.ModuleDict({'proj': nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)})
        self.block2 = nn.ModuleDict({'proj': nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)})
        same = in_channels == out_channels
        self.res_conv = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Take (B, in_channels, H, W) to (B, out_channels, H, W); ``time`` is (B, time_dim), or one row for all."""
        inner = F.silu(self._modulated(x, time), inplace=True)
        inner = F.silu(self.block2['proj'](inner), inplace=True)
        if isinstance(self.res_conv, nn.Conv2d):
            x = pointwise(self.res_conv, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return inner.add_(x)

    def _modulated(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.mlp(time).chunk(2, dim=1)
        conv: Any = self.block1['proj']
        if len(time) == 1 and not torch.is_grad_enabled():
            # one row for all: the kernel scales and shifts by itself
            return F.conv2d(x, conv.weight * (scale.mT[..., None, None] + 1), shift[0], padding=1)
        return torch.addcmul(shift[..., None, None], conv(x), scale[..., None, None] + 1)


class LinearAttention(nn.Module):
    """Attend between all pixels in time and memory linear in their number, in four heads of 32 channels.

    Queries are softmaxes over a head's channels, keys over the pixels; so a head is one matrix for the whole image,
    and all heads and the convolution behind them are one.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_WIDTH
        self.to_qkv = nn.Conv2d(dim, inner * 3, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(inner, dim, 1), ChannelNorm(dim))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (B, H, W, C) to the same; ``context`` is not looked at."""
        project: Any = self.to_out[0]
        pixels = x.flatten(1, 2)
        queries, keys, values = self.to_qkv.weight.flatten(1).chunk(3)
        # what a head's keys sum over the pixels is projected to values afterwards, and once
        sums = F.linear(pixels, keys).softmax(dim=1).mT @ pixels
        heads = torch.einsum('bhdc,hec->bhde', sums.unflatten(1, (HEADS, -1)), values.unflatten(0, (HEADS, -1)))
        # in half precision small numbers lose digits here; they are added to a bias and then normalised
        blocks = project.weight.flatten(1).unflatten(1, (HEADS, -1)) * (HEAD_WIDTH**-0.5 / pixels.shape[1])
        matrix = torch.einsum('bhde,che->bhdc', heads, blocks).flatten(1, 2)
        weights = F.linear(pixels, queries).unflatten(-1, (HEADS, -1)).softmax(dim=-1).flatten(2)
        return self.to_out[1](weights @ matrix.to(weights.dtype) + project.bias).view(x.shape)


class Attended(nn.Module):
    """Add to a feature what attention makes of it, normalised."""

    def __init__(self, dim: int, attention: nn.Module) -> None:
        super().__init__()
        self.fn = nn.ModuleDict({'norm': ChannelNorm(dim), 'fn': attention})

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Change (B, C, H, W); ``context`` is (B, context_dim), for attention that looks at it."""
        inner = self.fn['fn'](self.fn['norm'](x.permute(0, 2, 3, 1)), context)
        return x + inner.permute(0, 3, 1, 2)


class Upsample(nn.Sequential):
    """Double both sides, each pixel four times, and convolve, 3x3.

    Of the nine pixels that the kernel sees then, four are different ones: what is computed is a convolution of the
    small feature by 2x2 for each of the four places that a pixel of the result can have.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Identity(), nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.register_buffer('fold', torch.tensor(FOLD), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, in_channels, H, W) to (B, out_channels, 2 H, 2 W)."""
        conv: Any = self[1]
        height, width = x.shape[-2:]
        kernels = torch.einsum('pak,qbl,oikl->pqoiab', self.fold, self.fold, conv.weight).flatten(0, 2)
        out = F.conv2d(x, kernels, conv.bias.repeat(4), padding=1).permute(0, 2, 3, 1).unflatten(-1, (2, 2, -1))
        rows = [torch.stack([out[:, p : p + height, q : q + width, p, q] for q in (0, 1)], dim=3) for p in (0, 1)]
        return torch.stack(rows, dim=2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def downsample(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Convolve to half of both sides."""
    return nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
