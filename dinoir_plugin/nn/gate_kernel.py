"""The gate of a feed-forward network, ``gelu(gate) * value``, as Triton kernels: each number is read and written once.

Needs the package triton, which comes with torch for CUDA on Linux.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# numbers of a program
TILE = 1024


@triton.jit
def _places(channels: tl.constexpr, tile: tl.constexpr):  # type: ignore[no-untyped-def] # noqa: ANN202
    """Find where a program's numbers lie in (N, channels), and where their gates do in (N, 2 * channels)."""
    first = tl.program_id(0).to(tl.int64) * tile
    row = first // channels
    # small numbers, which are divided fast
    beyond = (first - row * channels).to(tl.int32) + tl.arange(0, tile)
    return first + tl.arange(0, tile), 2 * channels * row + beyond // channels * channels + beyond


@triton.jit(do_not_specialize=['count'])
def forward_kernel(
    hidden: tl.tensor, out: tl.tensor, count: tl.tensor, channels: tl.constexpr, tile: tl.constexpr
) -> None:
    """Write ``gelu(gate) * value`` of (N, 2 * channels), gates before values, to (N, channels)."""
    place, start = _places(channels, tile)
    there = place < count
    gate = tl.load(hidden + start, mask=there, other=0).to(tl.float32)
    value = tl.load(hidden + start + channels, mask=there, other=0).to(tl.float32)
    # the share of a normal distribution that is below the gate
    share = 0.5 + 0.5 * tl.erf(gate * 0.7071067811865476)
    tl.store(out + place, (gate * share * value).to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=['count'])
def backward_kernel(
    hidden: tl.tensor,
    grad: tl.tensor,
    out: tl.tensor,
    grad_hidden: tl.tensor,
    count: tl.tensor,
    channels: tl.constexpr,
    tile: tl.constexpr,
) -> None:
    """Write the same once more, and the gradients of gates and values."""
    place, start = _places(channels, tile)
    there = place < count
    gate = tl.load(hidden + start, mask=there, other=0).to(tl.float32)
    value = tl.load(hidden + start + channels, mask=there, other=0).to(tl.float32)
    above = tl.load(grad + place, mask=there, other=0).to(tl.float32)
    share = 0.5 + 0.5 * tl.erf(gate * 0.7071067811865476)
    density = tl.exp(-0.5 * gate * gate) * 0.3989422804014327
    kind = out.dtype.element_ty
    tl.store(out + place, (gate * share * value).to(kind), mask=there)
    tl.store(grad_hidden + start, (above * value * (share + gate * density)).to(kind), mask=there)
    tl.store(grad_hidden + start + channels, (above * gate * share).to(kind), mask=there)


def forward(hidden: Tensor, kernel: Any = forward_kernel) -> Tensor:
    """Compute ``gelu(gate) * value``, from (..., 2 * C), contiguous, to (..., C)."""
    channels = hidden.shape[-1] // 2
    out = hidden.new_empty(*hidden.shape[:-1], channels)
    kernel[(triton.cdiv(out.numel(), TILE),)](hidden, out, out.numel(), channels=channels, tile=TILE)
    return out


def backward(hidden: Tensor, grad: Tensor, kernel: Any = backward_kernel) -> tuple[Tensor, Tensor]:
    """Compute the same once more, and the gradient of ``hidden``.

    Args:
        hidden: (..., 2 * C), contiguous.
        grad: Of the result, (N, C), contiguous.
        kernel: What is run.

    Returns:
        The result, (N, C), and the gradient, as ``hidden``.
    """
    out, grad_hidden = torch.empty_like(grad), torch.empty_like(hidden)
    channels, count = grad.shape[-1], grad.numel()
    kernel[(triton.cdiv(count, TILE),)](hidden, grad, out, grad_hidden, count, channels=channels, tile=TILE)
    return out, grad_hidden
