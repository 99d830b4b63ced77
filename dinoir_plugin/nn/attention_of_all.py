"""Channel attention with one product for all heads: the fewest operations, for devices that wait for launches.

A product of whole features also takes products across heads, for nothing; no head's share has to be copied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dinoir_plugin.nn.precision import full, norms, share

NORM_EPS = 1e-12


class Products(NamedTuple):
    """Hold sums over pixels.

    Attributes:
        dots: k_j . q_i times :func:`~dinoir_plugin.nn.precision.share`, (B, C, C), in the features' type.
        norms: |q_i| and |k_j| side by side, (B, 2 * C), in float32 at least.
    """

    dots: Tensor
    norms: Tensor


class Weights(NamedTuple):
    """Hold the attention of all heads, one index a head: (B, c, c, heads), keys before queries.

    Attributes:
        softmax: P, transposed, summing to 1 over the keys.
        logits: What the softmax was taken of.
        slopes: d logits / d dots.
        norms: |q_i| and |k_j|, (B, 2, heads, c), none of them zero.
    """

    softmax: Tensor
    logits: Tensor
    slopes: Tensor
    norms: Tensor


def of_all(qkv: Tensor, temperature: Tensor, projection: Tensor, residual: Tensor) -> Tensor:
    """Attend, project, and add to the residual; see :func:`~dinoir_plugin.nn.channel_attention.channel_attention`."""
    if torch.compiler.is_compiling():
        return _plain(qkv, temperature, projection, residual)
    out: Tensor = _OfAll.apply(qkv, temperature, projection, residual)
    return out


def products(queries_keys: Tensor, pixels: int) -> Products:
    """Sum over space, from (B, N, 2 * C), side by side."""
    queries, keys = queries_keys.chunk(2, dim=-1)
    dots = torch.baddbmm(_nothing(keys), keys.mT, queries, beta=0, alpha=share(keys, pixels))
    return Products(dots, norms(queries_keys))


def attention(sums: Products, temperature: Tensor, pixels: int) -> Weights:
    """Compute the attention of all heads from the sums over all pixels."""
    heads = len(temperature)
    norms = sums.norms.clamp_min(NORM_EPS).unflatten(1, (2, heads, -1))
    of_queries, of_keys = norms.mT.unbind(dim=1)
    factor = share(sums.dots, pixels)
    rate = full(temperature).view(heads) if factor == 1 else full(temperature).view(heads) / factor
    slopes = rate / (of_keys.unsqueeze(2) * of_queries.unsqueeze(1))
    logits = _blocks(sums.dots, heads) * slopes
    return Weights(logits.softmax(dim=1), logits, slopes, norms)


def mixing_matrix(softmax: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
    """Compute M, (B, C, D), from P of all heads and W_o, (D, C); and the block-diagonal P^T, (B, C, C)."""
    batch, heads = softmax.shape[0], softmax.shape[-1]
    width = projection.shape[1]
    if heads == 1:
        mixed = softmax.squeeze(-1).to(projection.dtype)
    else:
        mixed = projection.new_zeros(batch, width, width)
        _blocks(mixed, heads).copy_(softmax)
    return (mixed.flatten(0, 1) @ projection.T).view(batch, width, -1), mixed


def _blocks(matrix: Tensor, heads: int) -> Tensor:
    """View the blocks on the diagonal of (B, C, C), one a head, as (B, c, c, heads)."""
    split = matrix.unflatten(2, (heads, -1)).unflatten(1, (heads, -1))
    return split.diagonal(dim1=1, dim2=3)


def _nothing(like: Tensor) -> Tensor:
    """Make the summand of a product that adds to nothing, which lets a factor go into the product's own sums."""
    return like.new_empty(1, 1, 1)


def _plain(qkv: Tensor, temperature: Tensor, projection: Tensor, residual: Tensor) -> Tensor:
    """Compute the same by operations that a compiler sees through, gradients by autograd."""
    heads, pixels = len(temperature), qkv.shape[1]
    queries_keys, values = qkv.split([2 * qkv.shape[2] // 3, qkv.shape[2] // 3], dim=-1)
    weights = attention(products(queries_keys, pixels), temperature, pixels)
    per_head = torch.einsum('bjih,ohi->bhjo', weights.softmax.to(qkv.dtype), projection.unflatten(1, (heads, -1)))
    return torch.baddbmm(residual.to(qkv.dtype), values, per_head.flatten(1, 2))


class _OfAll(torch.autograd.Function):
    """Write the backward pass out.

    With L the logits, D their gradient brought to ``k_j . q_i``, and r the sums of ``dL * L`` over the other side, the
    norms give ``-r / |q|^2 q`` and ``-r / |k|^2 k``. Both parts are one product of queries and keys side by side:

        (dq, dk) = (q, k) G,  G = ((-diag(r_q / |q|^2), D^T), (D, -diag(r_k / |k|^2)))
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, temperature: Tensor, projection: Tensor, residual: Tensor) -> Tensor:
        pixels, width = qkv.shape[1], qkv.shape[2] // 3
        weights = attention(products(qkv[..., : 2 * width], pixels), temperature, pixels)
        matrix, mixed = mixing_matrix(weights.softmax, projection)
        ctx.save_for_backward(qkv, temperature, projection, matrix, mixed, *weights)
        return torch.baddbmm(residual, qkv[..., 2 * width :], matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        qkv, temperature, projection, matrix, mixed, *saved = ctx.saved_tensors
        weights = Weights(*saved)
        heads, pixels, width = len(temperature), qkv.shape[1], qkv.shape[2] // 3
        grad_qkv = torch.empty_like(qkv)
        torch.bmm(grad, matrix.mT, out=grad_qkv[..., 2 * width :])

        grad_matrix = (qkv[..., 2 * width :].mT @ grad).flatten(0, 1)
        grad_projection = grad_matrix.T @ mixed.flatten(0, 1)
        grad_softmax = full(_blocks((grad_matrix @ projection).view_as(mixed), heads))
        grad_logits = torch._softmax_backward_data(grad_softmax, weights.softmax, 1, grad_softmax.dtype)

        factor = share(qkv, pixels)
        steering = qkv.new_zeros(len(qkv), 2 * width, 2 * width)
        across = steering[:, width:, :width]
        torch.mul(grad_logits, weights.slopes, out=_blocks(across, heads))
        steering[:, :width, width:].copy_(across.mT)
        along = grad_logits * weights.logits
        sums = along.new_empty(len(along), 2, *along.shape[2:])
        torch.sum(along, dim=1, out=sums[:, 0])
        torch.sum(along, dim=2, out=sums[:, 1])
        own = steering.diagonal(dim1=1, dim2=2).view(weights.norms.shape)
        own.addcdiv_(sums.mT, weights.norms.square(), value=-1 / factor)
        queries_keys, grad_queries_keys = qkv[..., : 2 * width], grad_qkv[..., : 2 * width]
        torch.baddbmm(_nothing(qkv), queries_keys, steering, beta=0, alpha=factor, out=grad_queries_keys)

        grad_temperature = (sums[:, 0].sum(dim=(0, 1)) / full(temperature).view(heads)).view_as(temperature)
        return grad_qkv, grad_temperature.to(temperature.dtype), grad_projection, grad
