"""Convolutions of features kept as (B, H, W, C), the layout in which a 1x1 convolution is one matrix product."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIP_ELEMENTS = 1 << 20


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (B, H, W, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a depthwise convolution to (B, H, W, C), which seen as (B, C, H, W) is channels_last."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def works_in_strips(x: Tensor, factor: int) -> bool:
    """Tell whether strips pay for (B, H, W, C) whose largest hidden feature is ``factor`` times as large.

    On the CPU only, where they keep the work in the cache. Not with gradients, which keep everything in memory anyway;
    not under autocast, whose types the strips' own buffers do not follow; nor in an exported graph, which would hold
    a copy of the work for each strip.
    """
    # asked first: in an exported graph the size is a symbol, and comparing it would bind it
    if torch.compiler.is_exporting() or torch.is_grad_enabled() or torch.is_autocast_enabled('cpu'):
        return False
    return x.device.type == 'cpu' and x.numel() * factor > 2 * STRIP_ELEMENTS


def convolved_strips(
    x: Tensor, project: Callable[[Tensor, Tensor], object], conv: nn.Conv2d, beside: int = 0
) -> Iterator[tuple[int, slice, Tensor]]:
    """Compute ``conv(project(x))`` strip by strip, so that the wide feature is never there as a whole.

    The arithmetic on a large feature waits for memory, and memory taken from the system anew is cleared page by page.
    A strip of STRIP_ELEMENTS stays in the cache. Each row is projected once: the last two rows of a strip are the
    first two of the next.

    Args:
        x: (B, H, W, C).
        project: Called with pixels (n, C) and where to write their projection, (n, conv.in_channels).
        conv: A depthwise 3x3 convolution, padded with zeros.
        beside: Channels of another feature whose strips are taken along, of as many rows.

    Yields:
        The image's number in the batch, the rows of the strip, and what the convolution gives for them,
        (rows, W, channels).
    """
    batch, height, width, channels = x.shape
    hidden = conv.in_channels
    rows = min(max(2, STRIP_ELEMENTS // (width * (hidden + beside))), height)
    # row r of the image is row r - top + 1 of the window
    window = x.new_empty(1, rows + 2, width, hidden)
    for number in range(batch):
        window[:, 0] = 0
        done = 0
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            if top:
                window[:, :2] = window[:, rows:]
            ready = min(bottom + 1, height)
            if done < ready:
                fresh = window[0, done - top + 1 : ready - top + 1]
                project(x[number, done:ready].reshape(-1, channels), fresh.view(-1, hidden))
            if ready == bottom:
                window[:, bottom - top + 1] = 0
            strip = window[:, : bottom - top + 2].permute(0, 3, 1, 2)
            out = F.conv2d(strip, conv.weight, conv.bias, padding=(0, 1), groups=hidden)
            yield number, slice(top, bottom), out[0].permute(1, 2, 0)
            done = ready


def project_into(conv: nn.Conv2d, x: Tensor, out: Tensor) -> None:
    """Write a 1x1 convolution of pixels (N, C) to ``out``, (N, conv.out_channels)."""
    weight = conv.weight.flatten(1).T
    if conv.bias is None:
        torch.mm(x, weight, out=out)
    else:
        torch.addmm(conv.bias, x, weight, out=out)
