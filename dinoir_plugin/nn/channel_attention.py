"""Attention between channels (Restormer's MDTA), with everything but the pixels kept small.

With q_i, k_j, v_j the channels of a head over N pixels, t its temperature and W_o the output projection, the attention
is

    P_ij = softmax_j(t cos_ij),  cos_ij = q_i . k_j / (|q_i| |k_j|),  out = x + W_o (P V)

Neither queries nor keys are normalised at full size: the norms divide the small matrix. W_o meets P before the pixels:
``out = x + V^T M`` with ``M = blockdiag(P_1, ..., P_heads)^T W_o^T``, so V is read once.
"""

from __future__ import annotations

from torch import Tensor

from dinoir_plugin.nn.attention_by_head import by_head
from dinoir_plugin.nn.attention_of_all import of_all
from dinoir_plugin.nn.precision import full_type


def channel_attention(qkv: Tensor, temperature: Tensor, projection: Tensor, residual: Tensor) -> Tensor:
    """Attend, project, and add to the residual.

    Args:
        qkv: (B, N, 3 * C), queries, keys and values side by side.
        temperature: (heads, 1, 1).
        projection: W_o, (D, C).
        residual: x, (B, N, D).

    Returns:
        (B, N, D). For gradients only ``qkv`` and small matrices are kept.
    """
    counts_products = qkv.device.type == 'cpu' and qkv.dtype == full_type(qkv)
    compute = by_head if counts_products else of_all
    return compute(qkv, temperature, projection.to(qkv.dtype), residual.to(qkv.dtype))
