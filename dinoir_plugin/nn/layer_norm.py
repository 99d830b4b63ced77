"""Layer norm over the channels of each pixel, by kernels of our own on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dinoir_plugin.nn.kernels import largest_difference, suit, work

# with more channels torch's kernel, which takes a block for each pixel, has enough to do
MOST_CHANNELS = 1024


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise the last dimension: ``(x - mean) / sqrt(variance + eps) * weight + bias``, with the biased variance.

    Mean and variance are taken in float32 at least. On a GPU the result has the type of ``x``, by the kernels of
    ``norm_kernel.py`` where they work there; a compiler gets the formula, which it joins with what stands beside it.

    Args:
        x: (..., C).
        weight: (C,).
        bias: (C,), or None for nothing.
        eps: Added to the variance.

    Returns:
        The same shape.
    """
    channels = x.shape[-1]
    if suit(x) and channels <= MOST_CHANNELS and work('layer norms', trial, x.device, x.dtype, channels):
        return KernelNorm.apply(x.contiguous(), weight, bias, eps)
    return F.layer_norm(x, (channels,), weight, bias, eps)


class ChannelLayerNorm(nn.LayerNorm):
    """Normalise (..., C) over the channels, with the parameters of torch's LayerNorm."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class KernelNorm(torch.autograd.Function):
    """Layer norm by the kernels; for gradients only ``x`` is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        """Normalise (..., C), contiguous."""
        from dinoir_plugin.nn import norm_kernel

        ctx.save_for_backward(x, weight)
        ctx.eps, ctx.bias_type = eps, None if bias is None else bias.dtype
        with torch.cuda.device_of(x):
            return norm_kernel.forward(x, weight, bias, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of what :meth:`forward` was given."""
        from dinoir_plugin.nn import norm_kernel

        x, weight = ctx.saved_tensors
        with torch.cuda.device_of(x):
            of_x, of_weight, of_bias = norm_kernel.backward(x, weight, grad.contiguous(), ctx.eps)
        return of_x, of_weight.to(weight.dtype), None if ctx.bias_type is None else of_bias.to(ctx.bias_type), None


def trial(device: torch.device, dtype: torch.dtype, channels: int) -> float:
    """Run the kernels; see :data:`~dinoir_plugin.nn.kernels.Trial`."""
    shapes = [(300, channels), (channels,), (channels,), (300, channels)]
    return largest_difference(partial(_results, KernelNorm.apply), partial(_results, _by_torch), shapes, device, dtype)


def _results(norm: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> list[Tensor]:
    out = norm(x, weight, bias, 1e-5)
    return [out, *torch.autograd.grad(out, (x, weight, bias), grad)]


def _by_torch(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
