"""Blocks of Restormer (Zamir et al., CVPR 2022, arXiv 2111.09881), written from the paper.

Parameter names are those of the authors' release. The arithmetic is arranged for speed: features stay channels_last,
convolutions of size 1 are matrix products on pixels, and in the attention the small (c, c) matrix is normalised and
multiplied with the output projection before it meets the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dinoir_plugin.core.tiles import Tile, slices
from dinoir_plugin.nn.attention_by_head import Products, attention, mixing_matrix, products
from dinoir_plugin.nn.channel_attention import channel_attention
from dinoir_plugin.nn.gating import gate, gated_projection
from dinoir_plugin.nn.layer_norm import layer_norm
from dinoir_plugin.nn.local_statistics import UsesStatistics
from dinoir_plugin.nn.pixelwise import convolved_strips, depthwise, pointwise, project_into, works_in_strips
from dinoir_plugin.nn.precision import full, no_autocast

LAYER_NORMS = ('WithBias', 'BiasFree')


class _NormBody(nn.Module):
    """Normalise the last dimension, with parameters.

    WithBias: (x - mean) / sqrt(var + 1e-5) * weight + bias. BiasFree: x / sqrt(var + 1e-5) * weight, with the same
    variance about the mean.
    """

    half_weights = True  # under autocast: its sums are float32 in any type, copies of features would cost time only

    def __init__(self, dim: int, with_bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        if with_bias:
            self.bias = nn.Parameter(torch.zeros(dim))
        self.with_bias = with_bias

    def forward(self, x: Tensor) -> Tensor:
        if self.with_bias:
            with no_autocast(x):
                return layer_norm(x, self.weight.to(x.dtype), self.bias.to(x.dtype), 1e-5)
        variance = full(x).var(dim=-1, keepdim=True, unbiased=False)
        return x * torch.rsqrt(variance + 1e-5).to(x.dtype) * self.weight.to(x.dtype)


class LayerNorm(nn.Module):
    """Normalise over the channels of (B, H, W, C)."""

    def __init__(self, dim: int, kind: str) -> None:
        super().__init__()
        self.body = _NormBody(dim, with_bias=kind == 'WithBias')

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, H, W, C)."""
        return self.body(x)


class ChannelAttention(UsesStatistics):
    """Attend between channels, linear in the pixels; subclasses have the layers, by their release's names.

    Attributes:
        num_heads: Heads.
    """

    temperature: nn.Parameter

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))

    def self_attended(
        self, x: Tensor, norm: nn.Module, residual: Tensor, qkv: nn.Conv2d, dwconv: nn.Conv2d, project_out: nn.Conv2d
    ) -> Tensor:
        """Compute ``residual + MDTA(norm(x))``.

        Args:
            x: (B, H, W, C).
            norm: Of (B, H, W, C).
            residual: (B, H, W, C).
            qkv: Makes queries, keys and values, 1x1.
            dwconv: Depthwise, 3x3, of these.
            project_out: 1x1.

        Returns:
            (B, H, W, C).
        """
        if self.window_share is None and works_in_strips(x, factor=3):
            return self._in_strips(x, norm, residual, qkv, dwconv, project_out)
        return self.attended(depthwise(dwconv, pointwise(qkv, norm(x))), residual, project_out)

    def attended(self, qkv: Tensor, residual: Tensor | None, project_out: nn.Conv2d) -> Tensor:
        """Attend, project and add to the residual.

        Args:
            qkv: (B, H, W, 3 * C), queries, keys and values side by side.
            residual: (B, H, W, C), or None for nothing.
            project_out: 1x1.

        Returns:
            (B, H, W, C).
        """
        projection = project_out.weight.flatten(1)

        def attend(part: Tensor, window: Tile | None) -> Tensor:
            # the weights of windows that are faded into each other add up to 1, so the residual may go along
            place = (slice(None), *slices(window)) if window else ...
            own = qkv.new_zeros(1, 1, 1) if residual is None else residual[place].flatten(1, 2)
            out = channel_attention(part.flatten(1, 2), self.temperature, projection, own)
            return out.view(*part.shape[:3], -1)

        out = self.over_windows(qkv, qkv.shape[-1] // 3, attend)
        return out if project_out.bias is None else out + project_out.bias.to(out.dtype)

    @torch.compiler.disable
    def _in_strips(
        self, x: Tensor, norm: nn.Module, residual: Tensor, qkv: nn.Conv2d, dwconv: nn.Conv2d, project_out: nn.Conv2d
    ) -> Tensor:
        def project(pixels: Tensor, out: Tensor) -> None:
            project_into(qkv, norm(pixels), out)

        strips = convolved_strips(x, project, dwconv)
        split = ((number, rows, *strip.split(x.shape[-1], dim=-1)) for number, rows, strip in strips)
        return self.attended_strips(split, torch.empty_like(x), residual, project_out)

    def attended_strips(
        self,
        strips: Iterable[tuple[int, slice, Tensor, Tensor, Tensor]],
        values: Tensor,
        residual: Tensor | None,
        project_out: nn.Conv2d,
    ) -> Tensor:
        """Attend, project and add to the residual, without a wide feature of the whole image.

        Args:
            strips: The image's number in the batch, rows, and their queries, keys and values, (rows, W, C) each.
            values: (B, H, W, C), to be filled.
            residual: The same shape, or None for nothing.
            project_out: 1x1.

        Returns:
            (B, H, W, C).
        """
        parts: list[list[Products]] = [[] for _ in values]
        for number, rows, queries, keys, own in strips:
            values[number, rows] = own
            parts[number].append(products(queries.flatten(0, 1)[None], keys.flatten(0, 1)[None], self.num_heads))
        sums = [[torch.stack(strips).sum(dim=0) for strips in zip(*image)] for image in parts]
        weights = attention(Products(*(torch.cat(images) for images in zip(*sums))), self.temperature)
        matrix = mixing_matrix(weights.softmax, project_out.weight.flatten(1))
        out = (values.flatten(1, 2) @ matrix.mT).view_as(values)
        for summand in (residual, project_out.bias):
            if summand is not None:
                out.add_(summand)
        return out


class Attention(ChannelAttention):
    """Attend between channels, linear in the pixels (multi-Dconv head transposed attention, MDTA)."""

    def __init__(self, dim: int, num_heads: int, bias: bool) -> None:
        super().__init__(num_heads)
        self.qkv = nn.Conv2d(dim, dim * 3, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(dim * 3, dim * 3, 3, padding=1, groups=dim * 3, bias=bias)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Compute ``x + MDTA(norm(x))``, (B, H, W, C) to the same."""
        return self.self_attended(x, norm, x, self.qkv, self.qkv_dwconv, self.project_out)


class FeedForward(nn.Module):
    """Feed forward through a gate with depthwise convolutions (gated-Dconv feed-forward network, GDFN)."""

    def __init__(self, dim: int, ffn_expansion_factor: float, bias: bool) -> None:
        super().__init__()
        hidden = int(dim * ffn_expansion_factor)
        self.project_in = nn.Conv2d(dim, hidden * 2, 1, bias=bias)
        self.dwconv = nn.Conv2d(hidden * 2, hidden * 2, 3, padding=1, groups=hidden * 2, bias=bias)
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=bias)

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Compute ``x + GDFN(norm(x))``, (B, H, W, C) to the same."""
        return fed_forward(x, norm, self.project_in, self.dwconv, self.project_out)


def fed_forward(
    x: Tensor, norm: nn.Module, project_in: nn.Conv2d, dwconv: nn.Conv2d, project_out: nn.Conv2d
) -> Tensor:
    """Compute ``x + GDFN(norm(x))`` with these layers, (B, H, W, C) to the same."""
    if works_in_strips(x, factor=math.ceil(dwconv.in_channels / x.shape[-1])):
        return _fed_forward_in_strips(x, norm, project_in, dwconv, project_out)
    hidden = depthwise(dwconv, pointwise(project_in, norm(x)))
    return gated_projection(hidden, project_out.weight.flatten(1), project_out.bias, x)


@torch.compiler.disable
def _fed_forward_in_strips(
    x: Tensor, norm: nn.Module, project_in: nn.Conv2d, dwconv: nn.Conv2d, project_out: nn.Conv2d
) -> Tensor:
    out = torch.empty_like(x)

    def project(pixels: Tensor, out: Tensor) -> None:
        project_into(project_in, norm(pixels), out)

    for number, rows, hidden in convolved_strips(x, project, dwconv):
        project_into(project_out, gate(hidden).flatten(0, 1), out[number, rows].flatten(0, 1))
    return out.add_(x)


class TransformerBlock(nn.Module):
    """Apply MDTA and GDFN, each with a norm before and a residual around it."""

    def __init__(self, dim: int, num_heads: int, ffn_expansion_factor: float, bias: bool, norm: str) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, norm)
        self.attn = Attention(dim, num_heads, bias)
        self.norm2 = LayerNorm(dim, norm)
        self.ffn = FeedForward(dim, ffn_expansion_factor, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W), channels_last in and out."""
        x = x.permute(0, 2, 3, 1)
        x = self.attn(x, self.norm1)
        x = self.ffn(x, self.norm2)
        return x.permute(0, 3, 1, 2)
