"""The end of a gated feed-forward network, with a backward pass that keeps little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dinoir_plugin.nn.kernels import largest_difference, suit, work
from dinoir_plugin.nn.precision import full_type

PART_ELEMENTS = 1 << 20  # of the hidden feature


def gated_projection(hidden: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor) -> Tensor:
    """Compute ``residual + linear(gelu(gate) * value)`` with gate and value the two halves of the hidden feature.

    For gradients only ``hidden`` is kept. Written as single operations, the activation and the product would be kept as
    well, each half as large; they are computed again instead.

    Args:
        hidden: (..., 2 * C).
        weight: (D, C).
        bias: (D,) or None.
        residual: (..., D).

    Returns:
        (..., D).
    """
    weight, residual = weight.to(hidden.dtype), residual.to(hidden.dtype)
    if torch.compiler.is_compiling():
        gates, values = hidden.chunk(2, dim=-1)
        out = residual + (F.gelu(gates) * values) @ weight.T
    else:
        out = _GatedProjection.apply(hidden, weight, residual).view(residual.shape)
    return out if bias is None else out + bias.to(hidden.dtype)


def gate(hidden: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute ``gelu(gate) * value``, from (..., 2 * C) to (..., C), where no gradient is recorded: in place.

    Args:
        hidden: The feature.
        out: Where to, without kernels of our own.
    """
    if has_kernels(hidden):
        from dinoir_plugin.nn import gate_kernel

        with torch.cuda.device_of(hidden):
            return gate_kernel.forward(hidden)
    gates, values = hidden.chunk(2, dim=-1)
    activated: Tensor = F.gelu(gates) if out is None else torch.ops.aten.gelu.out(gates, out=out)
    return activated.mul_(values)


def has_kernels(hidden: Tensor) -> bool:
    """Tell whether the gate of a feature is computed by kernels of our own."""
    return (
        suit(hidden)
        and hidden.is_contiguous()
        and work('gates', trial, hidden.device, hidden.dtype, hidden.shape[-1] // 2)
    )


def trial(device: torch.device, dtype: torch.dtype, channels: int) -> float:
    """Run the kernels; see :data:`~dinoir_plugin.nn.kernels.Trial`."""
    from dinoir_plugin.nn import gate_kernel

    def kernels(hidden: Tensor, grad: Tensor) -> list[Tensor]:
        return [gate_kernel.forward(hidden), *gate_kernel.backward(hidden, grad)]

    def by_torch(hidden: Tensor, grad: Tensor) -> list[Tensor]:
        gates, values = hidden.chunk(2, dim=-1)
        gated = F.gelu(gates) * values
        return [gated, gated, *torch.autograd.grad(gated, hidden, grad)]

    return largest_difference(kernels, by_torch, [(70, 2 * channels), (70, channels)], device, dtype)


class _GatedProjection(torch.autograd.Function):
    """Give (N, D) and no view: an operation in place on a view made in here raises."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        if hidden.device.type != 'cpu':
            return torch.addmm(residual.flatten(0, -2), gate(hidden).flatten(0, -2), weight.T)
        out = residual.new_empty(residual.shape[:-1].numel(), residual.shape[-1])
        for part, summand, place, gated in _parts(hidden, residual, out, rooms=1):
            torch.addmm(summand, gate(part, gated), weight.T, out=place)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, weight = ctx.saved_tensors
        residual = grad.view(*hidden.shape[:-1], -1)
        if has_kernels(hidden):
            from dinoir_plugin.nn import gate_kernel

            with torch.cuda.device_of(hidden):
                gated, grad_hidden = gate_kernel.backward(hidden, grad @ weight)
            return grad_hidden, grad.T @ gated, residual
        grad_hidden = hidden.new_empty(hidden.shape)
        of_weight = [_gate_backward(weight, *parts) for parts in _parts(hidden, grad, grad_hidden, rooms=2)]
        if len(of_weight) == 1:
            return grad_hidden, of_weight[0], residual
        grad_weight = torch.stack(of_weight).sum(dim=0, dtype=full_type(weight))
        return grad_hidden, grad_weight.to(weight.dtype), residual


def _parts(hidden: Tensor, *others: Tensor, rooms: int) -> Iterator[tuple[Tensor, ...]]:
    """Split features of the same pixels, (..., any) each: on the CPU into parts that stay in the cache with their work.

    Memory of the size of the whole feature, used once, would be cleared by the system page by page first.

    Args:
        hidden: (..., 2 * C).
        others: Of the same pixels.
        rooms: Features of a part's gates that are made room for.

    Yields:
        A part of each feature, (n, any), and the rooms, (n, C), which are the same for all parts.
    """
    pixels = hidden.shape[:-1].numel()
    rows = max(1, PART_ELEMENTS // hidden.shape[-1]) if hidden.device.type == 'cpu' else pixels
    room = hidden.new_empty(rooms, min(rows, pixels), hidden.shape[-1] // 2)
    for parts in zip(*(feature.flatten(0, -2).split(rows) for feature in (hidden, *others))):
        yield *parts, *room[:, : len(parts[0])]


def _gate_backward(
    weight: Tensor, hidden: Tensor, grad: Tensor, grad_hidden: Tensor, activated: Tensor, gated: Tensor
) -> Tensor:
    """Write the gradient of the hidden feature, and give that of the weight.

    Args:
        weight: (D, C).
        hidden: (n, 2 * C).
        grad: Of the result, (n, D).
        grad_hidden: Where to, (n, 2 * C).
        activated: Room, (n, C).
        gated: The same.
    """
    gates, values = hidden.chunk(2, dim=-1)
    grad_gates, grad_values = grad_hidden.chunk(2, dim=-1)
    torch.ops.aten.gelu.out(gates, out=activated)
    torch.mul(activated, values, out=gated)
    grad_weight = grad.T @ gated
    grad_gated = torch.mm(grad, weight, out=gated)
    torch.mul(activated, grad_gated, out=grad_values)
    torch.ops.aten.gelu_backward.grad_input(grad_gated.mul_(values), gates, grad_input=grad_gates)
    return grad_weight
