"""D-R adaption and fusion as its equation is written: everything at full size, one convolution after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def direct_attention(fusion: Any, feature: Tensor, guide: Tensor) -> Tensor:
    """Take the softmax of W_k(F_DA) x W_q(F_I) over the restoration channels: (B, C, C).

    Arguments as :func:`direct_dr_fusion`.
    """
    adapted = F.interpolate(fusion.adapt(guide), size=feature.shape[-2:], mode='bilinear', align_corners=False)
    keys = fusion.w_k(adapted).flatten(2)
    queries = F.conv2d(feature, fusion.w_q.weight[:, :, None, None]).flatten(2)
    if fusion.attention == 'sqrt_channels':
        return (keys @ queries.transpose(1, 2) / feature.shape[1] ** 0.5).softmax(dim=-1)
    keys, queries = F.normalize(keys, dim=-1), F.normalize(queries, dim=-1)
    return (keys @ queries.transpose(1, 2) * fusion.temperature).softmax(dim=-1)


def direct_dr_fusion(fusion: Any, feature: Tensor, guide: Tensor) -> Tensor:
    """Compute eq. 5 with the parameters of a DRFusion: feature (B, C, H, W), guide (B, D, h, w), result as feature."""
    attention = direct_attention(fusion, feature, guide)
    mixed = torch.bmm(attention, feature.flatten(2)).view_as(feature)
    if fusion.strength is not None:
        mixed = fusion.strength[:, :, None] * mixed
    return mixed + feature
