r"""The arithmetic of D-R fusion (arXiv 2312.01677, eq. 5), with everything but the feature kept small.

With F (N, C) the feature's pixels, K (C, n) the keys on the encoder's grid of n places, and S (N, n) bilinear
upsampling,

    Q = F W_q^T,  A = softmax_j(t k_i . q_j / (|S k_i| |q_j|)),  k_i . q_j = (K S^T Q)_ij,  out = F + F (s A)^T

with t the temperature and s the strength. Without t the logits are divided by sqrt(C) in the place of the norms.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dinoir_plugin.nn.precision import full, norms, share

NORM_EPS = 1e-12


class Steps(NamedTuple):
    """Hold S by axes: it takes a map X to ``rows @ X @ columns.T``.

    Attributes:
        rows: (H, h), float32 at least.
        columns: (W, w).
    """

    rows: Tensor
    columns: Tensor


class _Parts(NamedTuple):
    """Hold what the backward pass reads again, all of it small.

    Attributes:
        softmax: A, (B, C, C), float32 at least.
        logits: What the softmax was taken of.
        slopes: d logits / d (k_i . q_j).
        rows: S's rows in the feature's type; ``columns`` alike.
        coarse: S^T Q, (B, n, C).
        spread: S^T S K, (B, C, h, w).
        key_scale: 1 / |S k_i|, (B, C, 1).
        query_scale: 1 / |q_j|, (B, 1, C).
    """

    softmax: Tensor
    logits: Tensor
    slopes: Tensor
    rows: Tensor
    columns: Tensor
    coarse: Tensor
    spread: Tensor
    key_scale: Tensor
    query_scale: Tensor


def steer(
    pixels: Tensor, keys: Tensor, weight: Tensor, steps: Steps, temperature: Tensor | None, strength: Tensor | None
) -> Tensor:
    """Guide a feature.

    Args:
        pixels: F, (B, H, W, C).
        keys: K, (B, C, h, w), of the same type.
        weight: W_q, (C, C).
        steps: S.
        temperature: t, (1,); None: the literal form.
        strength: s, (C, 1); None: 1.

    Returns:
        (B, H, W, C). For gradients the feature itself and small matrices are kept.
    """
    weight = weight.to(pixels.dtype)
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        mixed: Tensor = _Steer.apply(pixels, keys, weight, temperature, strength, *steps)
    else:
        mixed = _mixed(pixels, _parts(pixels, keys, weight, steps, temperature).softmax, strength)
    return mixed.view_as(pixels)


def attention(
    pixels: Tensor, keys: Tensor, weight: Tensor, steps: Steps, temperature: Tensor | None, strength: Tensor | None
) -> Tensor:
    """Give A, (B, C, C), rows summing to 1; arguments as :func:`steer`."""
    return _parts(pixels, keys, weight.to(pixels.dtype), steps, temperature).softmax


def _parts(pixels: Tensor, keys: Tensor, weight: Tensor, steps: Steps, temperature: Tensor | None) -> _Parts:
    batch, height, width, channels = pixels.shape
    rows, columns = (matrix.to(pixels.dtype) for matrix in steps)
    queries = pixels.flatten(0, 2) @ weight.T
    coarse = rows.T @ queries.view(batch, height, width * channels)
    coarse = (columns.T @ coarse.view(batch, -1, width, channels)).flatten(1, 2)
    factor = share(pixels, height * width)
    dots = torch.baddbmm(keys.new_empty(1, 1, 1), keys.flatten(2), coarse, beta=0, alpha=factor)

    exact = full(keys)
    spread = (steps.rows.T @ steps.rows) @ exact @ (steps.columns.T @ steps.columns)
    key_scale = (exact * spread).sum(dim=(-2, -1)).clamp_min(NORM_EPS**2).rsqrt().unsqueeze(2)
    lengths = norms(queries.view(batch, -1, channels))
    query_scale = lengths.clamp_min(NORM_EPS).reciprocal().unsqueeze(1)
    if temperature is None:
        slopes = exact.new_full((1, 1, 1), channels**-0.5 / factor)
    else:
        rate = full(temperature) if factor == 1 else full(temperature) / factor
        slopes = key_scale * rate * query_scale
    logits = dots * slopes
    return _Parts(logits.softmax(dim=-1), logits, slopes, rows, columns, coarse, spread, key_scale, query_scale)


def _mixed(pixels: Tensor, softmax: Tensor, strength: Tensor | None) -> Tensor:
    matrix = (softmax if strength is None else softmax * strength).to(pixels.dtype)
    flat = pixels.flatten(1, 2)
    return torch.baddbmm(flat, flat, matrix.mT)


class _Steer(torch.autograd.Function):
    """Write the backward pass out; the queries are computed again, and the norms give ``-r / |q|^2 q`` as in MDTA.

    The result is (B, H * W, C) and no view: an activation in place after a view made in here raises.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pixels: Tensor,
        keys: Tensor,
        weight: Tensor,
        temperature: Tensor | None,
        strength: Tensor | None,
        rows: Tensor,
        columns: Tensor,
    ) -> Tensor:
        parts = _parts(pixels, keys, weight, Steps(rows, columns), temperature)
        ctx.save_for_backward(pixels, keys, weight, temperature, strength, *parts)
        return _mixed(pixels, parts.softmax, strength)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pixels, keys, weight, temperature, strength, *saved = ctx.saved_tensors
        parts = _Parts(*saved)
        batch, height, width, channels = pixels.shape
        factor = share(pixels, height * width)
        flat, grad_flat = pixels.flatten(1, 2), grad

        grad_matrix = full(grad_flat.mT @ flat)
        grad_strength = None
        matrix = parts.softmax
        if strength is not None:
            grad_strength = (grad_matrix * parts.softmax).sum(dim=(0, 2)).view_as(strength).to(strength.dtype)
            grad_matrix, matrix = grad_matrix * strength, matrix * strength
        grad_logits = torch._softmax_backward_data(grad_matrix, parts.softmax, 2, grad_matrix.dtype)
        # written in the feature's type at once
        grad_dots = torch.mul(grad_logits, parts.slopes, out=pixels.new_empty(grad_logits.shape))

        product = torch.baddbmm(keys.new_empty(1, 1, 1), grad_dots, parts.coarse.mT, beta=0, alpha=factor)
        grad_keys = product.view_as(keys)
        grad_coarse = torch.baddbmm(keys.new_empty(1, 1, 1), keys.flatten(2).mT, grad_dots, beta=0, alpha=factor)
        coarse_height = parts.rows.shape[1]
        grad_coarse = parts.columns @ grad_coarse.view(batch, coarse_height, -1, channels)
        grad_queries = (parts.rows @ grad_coarse.view(batch, coarse_height, -1)).view(-1, channels)

        grad_temperature = None
        if temperature is not None:
            along = grad_logits * parts.logits
            of_keys, of_queries = along.sum(dim=2, keepdim=True), along.sum(dim=1, keepdim=True)
            grad_temperature = (of_keys.sum() / full(temperature)).to(temperature.dtype)
            own = (of_keys * parts.key_scale.square()).unsqueeze(3)
            grad_keys = torch.addcmul(full(grad_keys), own, parts.spread, value=-1).to(keys.dtype)
            own = torch.mul(of_queries, parts.query_scale.square(), out=pixels.new_empty(of_queries.shape))
            queries = (flat.flatten(0, 1) @ weight.T).view(batch, -1, channels)
            grad_queries = torch.addcmul(grad_queries.view_as(flat), own, queries, value=-1).flatten(0, 1)
        grad_pixels = torch.baddbmm(grad_flat, grad_flat, matrix.to(pixels.dtype)).flatten(0, 1)
        grad_pixels = torch.addmm(grad_pixels, grad_queries, weight).view_as(pixels)
        grad_weight = grad_queries.T @ flat.flatten(0, 1)
        return grad_pixels, grad_keys, grad_weight, grad_temperature, grad_strength, None, None
