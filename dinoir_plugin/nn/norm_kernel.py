"""Layer norm over few channels as Triton kernels: many pixels in a program, where torch's own takes a block for each.

Needs the package triton, which comes with torch for CUDA on Linux.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# numbers of a program at a time; the backward pass holds more of them beside each other
FORWARD_TILE, BACKWARD_TILE = 4096, 2048
# programs of the backward pass, each of which adds up its own part of the weights' gradients
MOST_PROGRAMS = 1024


@triton.jit
def _normed(place, there, known, eps: tl.constexpr, channels: tl.constexpr):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Read pixels and normalise each; give the scale as well, one over the deviation."""
    value = tl.load(place, mask=there, other=0).to(tl.float32)
    centred = tl.where(known, value - (tl.sum(value, axis=1) / channels)[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=1) / channels + eps)[:, None]
    return centred * scale, scale


@triton.jit(do_not_specialize=['pixels'])
def forward_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    pixels: tl.tensor,
    eps: tl.constexpr,
    channels: tl.constexpr,
    columns: tl.constexpr,
    rows: tl.constexpr,
) -> None:
    """Normalise ``rows`` pixels of (pixels, channels); ``columns`` is the next power of 2 of the channels."""
    row = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)[:, None]
    column = tl.arange(0, columns)[None, :]
    known = column < channels
    there = (row < pixels) & known
    place = row * channels + column
    normed, _ = _normed(x + place, there, known, eps, channels)
    factor = tl.load(weight + column, mask=known, other=0).to(tl.float32)
    result = normed * factor
    if bias is not None:
        result += tl.load(bias + column, mask=known, other=0).to(tl.float32)
    tl.store(out + place, result.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=['pixels'])
def backward_kernel(
    x: tl.tensor,
    weight: tl.tensor,
    grad: tl.tensor,
    grad_x: tl.tensor,
    grad_weight: tl.tensor,
    grad_bias: tl.tensor,
    pixels: tl.tensor,
    eps: tl.constexpr,
    channels: tl.constexpr,
    columns: tl.constexpr,
    rows: tl.constexpr,
) -> None:
    """Write the gradient of x, and a program's part, a row, of those of weight and bias."""
    column = tl.arange(0, columns)[None, :]
    known = column < channels
    factor = tl.load(weight + column, mask=known, other=0).to(tl.float32)
    of_weight = tl.zeros((rows, columns), tl.float32)
    of_bias = tl.zeros((rows, columns), tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(pixels, rows), tl.num_programs(0)):
        row = tl.cast(block, tl.int64) * rows + tl.arange(0, rows)[:, None]
        there = (row < pixels) & known
        place = row * channels + column
        normed, scale = _normed(x + place, there, known, eps, channels)
        above = tl.load(grad + place, mask=there, other=0).to(tl.float32)
        of_weight += above * normed
        of_bias += above
        above *= factor
        mean = (tl.sum(above, axis=1) / channels)[:, None]
        along = (tl.sum(above * normed, axis=1) / channels)[:, None]
        change = scale * (above - mean - normed * along)
        tl.store(grad_x + place, change.to(grad_x.dtype.element_ty), mask=there)
    place = tl.program_id(0) * channels + tl.arange(0, columns)
    known = tl.arange(0, columns) < channels
    tl.store(grad_weight + place, tl.sum(of_weight, axis=0), mask=known)
    tl.store(grad_bias + place, tl.sum(of_bias, axis=0), mask=known)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, kernel: Any = forward_kernel) -> Tensor:
    """Normalise the last dimension.

    Args:
        x: (..., C), contiguous.
        weight: (C,), contiguous, of any floating type.
        bias: The same, or None.
        eps: Added to the variance.
        kernel: What is run.

    Returns:
        As x.
    """
    out = torch.empty_like(x)
    channels, columns, rows, pixels = _shape(x, FORWARD_TILE)
    grid = (triton.cdiv(pixels, rows),)
    kernel[grid](x, weight, bias, out, pixels, eps=eps, channels=channels, columns=columns, rows=rows)
    return out


def backward(
    x: Tensor, weight: Tensor, grad: Tensor, eps: float, kernel: Any = backward_kernel
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the gradients of x, as x, and of weight and bias, float32, (C,) each.

    Args:
        x: (..., C), contiguous.
        weight: (C,), contiguous.
        grad: Of the result, as x.
        eps: As before.
        kernel: What is run.
    """
    channels, columns, rows, pixels = _shape(x, BACKWARD_TILE)
    programs = min(triton.cdiv(pixels, rows), MOST_PROGRAMS)
    grad_x = torch.empty_like(x)
    parts = x.new_empty(2, programs, channels, dtype=torch.float32)
    kernel[(programs,)](x, weight, grad, grad_x, *parts, pixels, eps=eps, channels=channels, columns=columns, rows=rows)
    of_weight, of_bias = parts.sum(dim=1)
    return grad_x, of_weight, of_bias


def _shape(x: Tensor, tile: int) -> tuple[int, int, int, int]:
    """Give channels, the power of 2 from there on, pixels of a program at a time, and all pixels."""
    channels = x.shape[-1]
    columns = triton.next_power_of_2(channels)
    return channels, columns, max(1, tile // columns), x.numel() // channels
