"""D-R adaption and fusion as its equation is written: everything at full size, one convolution after the other."""

import torch
from torch.nn import functional as F


def direct_attention(fusion, feature, guide):
    """Softmax of W_k(F_DA) x W_q(F_I) over the restoration channels, with the parameters of ``fusion``."""
    adapted = F.interpolate(fusion.adapt(guide), size=feature.shape[-2:], mode='bilinear', align_corners=False)
    keys = fusion.w_k(adapted).flatten(2)
    queries = F.conv2d(feature, fusion.w_q.weight[:, :, None, None]).flatten(2)
    if fusion.attention == 'sqrt_channels':
        return (keys @ queries.transpose(1, 2) / feature.shape[1] ** 0.5).softmax(dim=-1)
    keys, queries = F.normalize(keys, dim=-1), F.normalize(queries, dim=-1)
    return (keys @ queries.transpose(1, 2) * fusion.temperature).softmax(dim=-1)


def direct_dr_fusion(fusion, feature, guide):
    """Eq. 5 with the parameters of ``fusion``."""
    attention = direct_attention(fusion, feature, guide)
    mixed = torch.bmm(attention, feature.flatten(2)).view_as(feature)
    return mixed + feature
