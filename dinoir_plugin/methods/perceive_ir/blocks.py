"""Transformer blocks of Perceive-IR (arXiv 2408.15994): Restormer's, and those that a modulated feature queries.

Parameter names are those of the authors' release; the arithmetic is that of
:mod:`~dinoir_plugin.nn.restormer_blocks`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dinoir_plugin.nn.pixelwise import convolved_strips, depthwise, pointwise, project_into, works_in_strips
from dinoir_plugin.nn.restormer_blocks import ChannelAttention, LayerNorm, fed_forward

NORM = 'WithBias'
RATIO = 2.66  # hidden over outer width of the feed-forward network


class MDTA(ChannelAttention):
    """Attend between the channels of one feature."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(heads)
        self.qkv = nn.Conv2d(channels, channels * 3, 1)
        self.qkv_dw = nn.Conv2d(channels * 3, channels * 3, 3, padding=1, groups=channels * 3)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, norm: nn.Module, residual: Tensor) -> Tensor:
        """Compute ``residual + MDTA(norm(x))``, (B, H, W, C) each."""
        return self.self_attended(x, norm, residual, self.qkv, self.qkv_dw, self.project)


class PGCA(ChannelAttention):
    """Attend between channels of a feature and those of a modulated one, which makes the queries.

    (E7, E8) ``Q = W_q Y, K = W_k X, V = W_v X`` (each 1x1, then depthwise 3x3), ``W_o softmax(Q K^T * temperature) V``.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(heads)
        self.q: Any = _projected(channels, channels)
        self.kv: Any = _projected(channels, channels * 2)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(
        self, x: Tensor, norm: nn.Module, guidance: Tensor, guidance_norm: nn.Module, residual: Tensor | None = None
    ) -> Tensor:
        """Compute ``PGCA(norm(x), guidance_norm(guidance))``, and add the residual where one is given.

        Args:
            x: X, (B, H, W, C).
            norm: Its norm.
            guidance: Y, the same shape.
            guidance_norm: Its norm.
            residual: The same shape.
        """
        if self.window_share is None and works_in_strips(x, factor=3):
            return self._in_strips(x, norm, guidance, guidance_norm, residual)
        queries, keys_values = (
            depthwise(layers[1], pointwise(layers[0], feature))
            for layers, feature in ((self.q, guidance_norm(guidance)), (self.kv, norm(x)))
        )
        return self.attended(torch.cat([queries, keys_values], dim=-1), residual, self.project)

    @torch.compiler.disable
    def _in_strips(
        self, x: Tensor, norm: nn.Module, guidance: Tensor, guidance_norm: nn.Module, residual: Tensor | None
    ) -> Tensor:
        width = x.shape[-1]

        def project_queries(pixels: Tensor, out: Tensor) -> None:
            project_into(self.q[0], guidance_norm(pixels), out)

        def project_keys_values(pixels: Tensor, out: Tensor) -> None:
            project_into(self.kv[0], norm(pixels), out)

        of_queries = convolved_strips(guidance, project_queries, self.q[1], beside=2 * width)
        of_keys_values = convolved_strips(x, project_keys_values, self.kv[1], beside=width)
        strips = (
            (number, rows, queries, *keys_values.split(width, dim=-1))
            for (number, rows, queries), (_, _, keys_values) in zip(of_queries, of_keys_values)
        )
        return self.attended_strips(strips, torch.empty_like(x), residual, self.project)


class GDFN(nn.Module):
    """Feed forward through a gate with depthwise convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * RATIO)
        self.project_in = nn.Conv2d(channels, hidden * 2, 1)
        self.depthwise = nn.Conv2d(hidden * 2, hidden * 2, 3, padding=1, groups=hidden * 2)
        self.project_out = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Compute ``x + GDFN(norm(x))``, (B, H, W, C) to the same."""
        return fed_forward(x, norm, self.project_in, self.depthwise, self.project_out)


class PlainTransformerBlock(nn.Module):
    """Apply MDTA and GDFN, each with a norm before and a residual around it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels, NORM)
        self.attention = MDTA(channels, heads)
        self.norm2 = LayerNorm(channels, NORM)
        self.ffn = GDFN(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W), channels_last in and out."""
        x = x.permute(0, 2, 3, 1)
        x = self.ffn(self.attention(x, self.norm1, x), self.norm2)
        return x.permute(0, 3, 1, 2)


class EnhancedTransformerBlock(nn.Module):
    """Attend to a modulated feature, to oneself, and feed forward (ETB, E9).

    In the release ``m = y + MDTA(PGCA(x, y))``, in the paper's figure ``m = y + PGCA(x, y)``, with y the modulated
    feature, whose residual takes the place of x's; then ``m + GDFN(m)``. Each part has a norm before.

    Args:
        channels: C.
        heads: Of the attention; they divide ``channels``.
        extra_mdta: Whether there is a second attention, as in the release.
    """

    def __init__(self, channels: int, heads: int, extra_mdta: bool = True) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels, NORM)
        self.guidance_norm = LayerNorm(channels, NORM)
        self.attention = PGCA(channels, heads)
        if extra_mdta:
            self.mdta_norm = LayerNorm(channels, NORM)
            self.mdta = MDTA(channels, heads)
        self.extra_mdta = extra_mdta
        self.norm2 = LayerNorm(channels, NORM)
        self.ffn = GDFN(channels)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Change a feature.

        Args:
            x: (B, C, H, W), channels_last.
            guidance: y, the same shape and layout.

        Returns:
            The same shape and layout.
        """
        x, y = x.permute(0, 2, 3, 1), guidance.permute(0, 2, 3, 1)
        if self.extra_mdta:
            x = self.mdta(self.attention(x, self.norm1, y, self.guidance_norm), self.mdta_norm, y)
        else:
            x = self.attention(x, self.norm1, y, self.guidance_norm, y)
        return self.ffn(x, self.norm2).permute(0, 3, 1, 2)


class EnhancedStage(nn.Module):
    """Hold enhanced blocks in a row, which share one modulated feature.

    Args:
        channels: C.
        heads: Of each block's attention.
        count: How many blocks.
        extra_mdta: See :class:`EnhancedTransformerBlock`.
    """

    def __init__(self, channels: int, heads: int, count: int, extra_mdta: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EnhancedTransformerBlock(channels, heads, extra_mdta) for _ in range(count))

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Change a feature; arguments as :meth:`EnhancedTransformerBlock.forward`."""
        for block in self.blocks:
            x = block(x, guidance)
        return x


def plain_stage(channels: int, heads: int, count: int) -> nn.Sequential:
    """Make plain blocks in a row."""
    return nn.Sequential(*[PlainTransformerBlock(channels, heads) for _ in range(count)])


def _projected(channels: int, out_channels: int) -> nn.Sequential:
    deep = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)
    return nn.Sequential(nn.Conv2d(channels, out_channels, 1), deep)
