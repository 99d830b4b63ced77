"""Convolutions of features kept as (B, H, W, C), the layout in which a 1x1 convolution is one matrix product."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIP_ELEMENTS = 1 << 22


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution of (B, H, W, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A depthwise convolution of (B, H, W, C), which seen as (B, C, H, W) is channels_last."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def row_strips(height: int, row_elements: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a picture into strips of rows for a 3x3 convolution, each with a row more above and below where there is one.

    Large features cost more than the arithmetic on them: memory that is taken from the system anew is cleared page by
    page. In strips of STRIP_ELEMENTS the allocator uses the same memory again and again.

    Args:
        height: Rows of the picture.
        row_elements: Numbers in one row of the largest feature that a strip needs.

    Yields:
        The rows to read, which of the rows computed from them to keep, and where these belong.
    """
    rows = max(1, STRIP_ELEMENTS // row_elements)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - 1, 0), min(bottom + 1, height)
        yield slice(first, last), slice(top - first, bottom - first), slice(top, bottom)


def works_in_strips(x: Tensor, factor: int) -> bool:
    """Whether strips pay for (B, H, W, C) whose largest hidden feature is ``factor`` times as large.

    Not with gradients, which keep everything in memory anyway, nor in a compiled graph, which fuses what strips save.
    """
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling() and x.numel() * factor > 2 * STRIP_ELEMENTS
