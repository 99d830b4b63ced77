"""Channel attention with a product for each head: the fewest multiplications, for processors that wait for those."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dinoir_plugin.nn.precision import full

NORM_EPS = 1e-12


class Products(NamedTuple):
    """Hold sums over the pixels; those of parts of an image add up to the image's.

    Attributes:
        dots: q_i . k_j, (B, heads, c, c).
        q_squares: |q_i|^2, (B, heads, c).
        k_squares: |k_j|^2, (B, heads, c).
    """

    dots: Tensor
    q_squares: Tensor
    k_squares: Tensor


class Weights(NamedTuple):
    """Hold the attention of each head.

    Attributes:
        cosines: (B, heads, c, c).
        softmax: P, (B, heads, c, c).
        q_scale: 1 / |q_i|, (B, heads, c).
        k_scale: 1 / |k_j|, (B, heads, c).
    """

    cosines: Tensor
    softmax: Tensor
    q_scale: Tensor
    k_scale: Tensor


def by_head(qkv: Tensor, temperature: Tensor, projection: Tensor, residual: Tensor) -> Tensor:
    """Attend, project, and add to the residual; see :func:`~dinoir_plugin.nn.channel_attention.channel_attention`."""
    out: Tensor = _ByHead.apply(qkv, temperature, projection)
    return residual + out


def products(queries: Tensor, keys: Tensor, heads: int) -> Products:
    """Sum over space, in float32 at least, from (B, N, C) each."""
    q, k = (split_heads(feature, heads) for feature in (queries, keys))
    return Products(full(q.mT @ k), full(q).square().sum(dim=-2), full(k).square().sum(dim=-2))


def attention(sums: Products, temperature: Tensor) -> Weights:
    """Compute the attention matrices from the sums."""
    scales = [squares.clamp_min(NORM_EPS**2).rsqrt() for squares in sums[1:]]
    cosines = sums.dots * scales[0][..., :, None] * scales[1][..., None, :]
    return Weights(cosines, (cosines * full(temperature)).softmax(dim=-1), *scales)


def mixing_matrix(softmax: Tensor, projection: Tensor) -> Tensor:
    """Compute M, (B, D, C), from P, (B, heads, c, c), and W_o, (D, C)."""
    batch, heads, width, _ = softmax.shape
    blocks = projection.view(-1, heads, width)
    return torch.einsum('ohc,bhcd->bohd', blocks, softmax.to(projection.dtype)).reshape(batch, -1, heads * width)


def split_heads(feature: Tensor, heads: int) -> Tensor:
    """Reshape (B, N, C) to (B, heads, N, c)."""
    return feature.unflatten(-1, (heads, -1)).transpose(1, 2)


class _ByHead(torch.autograd.Function):
    """Write the backward pass out: gradients of queries, keys and values are made in place, no product is kept."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, temperature: Tensor, projection: Tensor) -> Tensor:
        queries, keys, values = qkv.chunk(3, dim=-1)
        weights = attention(products(queries, keys, len(temperature)), temperature)
        ctx.save_for_backward(qkv, temperature, projection, *weights)
        return values @ mixing_matrix(weights.softmax, projection).mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv, temperature, projection, *saved = ctx.saved_tensors
        weights = Weights(*saved)
        heads = len(temperature)
        queries, keys, values = qkv.chunk(3, dim=-1)
        grad_qkv = torch.empty_like(qkv)
        grad_queries, grad_keys, grad_values = grad_qkv.chunk(3, dim=-1)

        torch.bmm(grad, mixing_matrix(weights.softmax, projection), out=grad_values)
        grad_matrix = full(grad.mT @ values).unflatten(-1, (heads, -1))
        blocks = full(projection).view(len(projection), heads, -1)
        grad_projection = torch.einsum('bohd,bhcd->ohc', grad_matrix, weights.softmax).flatten(1)
        grad_softmax = torch.einsum('ohc,bohd->bhcd', blocks, grad_matrix)

        softmax = weights.softmax
        grad_logits = softmax * (grad_softmax - (grad_softmax * softmax).sum(dim=-1, keepdim=True))
        grad_temperature = (grad_logits * weights.cosines).sum(dim=(0, 2, 3)).view_as(temperature)
        grad_cosines = grad_logits * full(temperature)
        grad_dots = (grad_cosines * weights.q_scale[..., :, None] * weights.k_scale[..., None, :]).to(qkv.dtype)
        # d cos / d q_i = k_j / (|q_i| |k_j|) - cos q_i / |q_i|^2, and the same for k_j
        along = grad_cosines * weights.cosines
        q_along = _unless_tiny(-along.sum(dim=-1), weights.q_scale)
        k_along = _unless_tiny(-along.sum(dim=-2), weights.k_scale)
        q, k = split_heads(queries, heads), split_heads(keys, heads)
        torch.addcmul(k @ grad_dots.mT, q, q_along.to(qkv.dtype), out=split_heads(grad_queries, heads))
        torch.addcmul(q @ grad_dots, k, k_along.to(qkv.dtype), out=split_heads(grad_keys, heads))
        return grad_qkv, grad_temperature.to(temperature.dtype), grad_projection.to(projection.dtype)


def _unless_tiny(along: Tensor, scale: Tensor) -> Tensor:
    """Give ``along * scale^2`` as (B, heads, 1, c), zero where the norm was held at its least."""
    return torch.where(scale < 1 / NORM_EPS, along * scale.square(), 0.0).unsqueeze(-2)
