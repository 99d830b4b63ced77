"""The end of a gated feed-forward network, with a backward pass that keeps little."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dinoir_plugin.nn.kernels import largest_difference, suit, work


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


def gate(hidden: Tensor) -> Tensor:
    """Compute ``gelu(gate) * value``, from (..., 2 * C) to (..., C), where no gradient is recorded: in place."""
    if has_kernels(hidden):
        from dinoir_plugin.nn import gate_kernel

        with torch.cuda.device_of(hidden):
            return gate_kernel.forward(hidden)
    gates, values = hidden.chunk(2, dim=-1)
    return F.gelu(gates).mul_(values)


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
        return torch.addmm(residual.flatten(0, -2), gate(hidden).flatten(0, -2), weight.T)

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
        gates, values = hidden.chunk(2, dim=-1)
        activated = F.gelu(gates)
        grad_weight = grad.T @ (activated * values).flatten(0, -2)
        grad_gated = (grad @ weight).view(values.shape)
        grad_hidden = torch.empty_like(hidden)
        grad_gates, grad_values = grad_hidden.chunk(2, dim=-1)
        torch.mul(activated, grad_gated, out=grad_values)
        torch.ops.aten.gelu_backward.grad_input(grad_gated.mul_(values), gates, grad_input=grad_gates)
        return grad_hidden, grad_weight, residual
