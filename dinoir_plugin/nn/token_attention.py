"""Scaled dot-product attention of tokens, without the matrix of all pairs in memory where torch can do so."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def attended(queries: Tensor, keys: Tensor, values: Tensor, heads: int, causal: bool = False) -> Tensor:
    """Attend in ``heads`` shares of the channels.

    Args:
        queries: (B, N, C).
        keys: (B, M, C).
        values: (B, M, C).
        heads: How many; they divide C.
        causal: Whether a token sees those before it and itself only; N = M then.

    Returns:
        (B, N, C).
    """
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (queries, keys, values))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)
