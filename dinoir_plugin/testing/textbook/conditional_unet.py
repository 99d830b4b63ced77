"""DA-CLIP's U-Net as its description is written, on the weights of a package network.

NCHW, every 1x1 convolution a convolution, attention with the matrix of all pairs, norms from means and variances.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.methods.daclip.spatial_transformer import SpatialTransformer


def textbook_conditional_unet(
    net: Any, xt: Tensor, cond: Tensor, time: Tensor, degradation: Tensor | None, content: Tensor | None
) -> Tensor:
    """Run ``net`` on images (B, C, H, W) whose sides ``net.size_multiple`` divides, at times (B,)."""
    x = first = F.conv2d(torch.cat([xt - cond, cond], dim=1), net.init_conv.weight, padding=3)
    embedding = net.time_mlp[1:](_waves(time, net.time_mlp[0].dim))
    if net.use_degra_context and degradation is not None:
        embedding = embedding + net.prompt_mlp(torch.softmax(net.text_mlp(degradation), dim=1) * net.prompt)
    if net.halved:
        x = net.downsample(x)
    skips = []
    for block1, block2, attention, down in net.downs:
        x = _block(block1, x, embedding)
        skips.append(x)
        x = _attention(attention, _block(block2, x, embedding), content)
        skips.append(x)
        x = down(x)
    x = _attention(net.mid_attn, _block(net.mid_block1, x, embedding), content)
    x = _block(net.mid_block2, x, embedding)
    for block1, block2, attention, up in net.ups:
        x = _block(block1, torch.cat([x, skips.pop()], dim=1), embedding)
        x = _block(block2, torch.cat([x, skips.pop()], dim=1), embedding)
        x = _up(up, _attention(attention, x, content))
    if net.halved:
        x = _up(net.upsample, x)
    return net.final_conv(_block(net.final_res_block, torch.cat([x, first], dim=1), embedding))


def _waves(time: Tensor, dim: int) -> Tensor:
    count = dim // 2
    angles = [time * math.exp(-math.log(1e4) * k / (count - 1)) for k in range(count)]
    return torch.stack([*(a.sin() for a in angles), *(a.cos() for a in angles)], dim=1)


def _block(block: Any, x: Tensor, time: Tensor) -> Tensor:
    scale, shift = block.mlp(time)[:, :, None, None].chunk(2, dim=1)
    y = block.block1['proj'](x) * (scale + 1) + shift
    y = block.block2['proj'](y * torch.sigmoid(y))
    return y * torch.sigmoid(y) + block.res_conv(x)


def _norm(norm: Any, x: Tensor) -> Tensor:
    mean = x.mean(dim=1, keepdim=True)
    variance = x.var(dim=1, unbiased=False, keepdim=True)
    return (x - mean) * (variance + 1e-5).rsqrt() * norm.g


def _attention(attended: Any, x: Tensor, content: Tensor | None) -> Tensor:
    inner, normed = attended.fn['fn'], _norm(attended.fn['norm'], x)
    if isinstance(inner, SpatialTransformer):
        return x + normed + _spatial(inner, normed, content)
    return x + _linear(inner, normed)


def _linear(attention: Any, x: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    parts = attention.to_qkv(x).chunk(3, dim=1)
    q, k, v = (part.view(batch, 4, 32, height * width) for part in parts)
    q = q.softmax(dim=2) * 32**-0.5
    k = k.softmax(dim=3)
    v = v / (height * width)
    context = torch.einsum('bhdn,bhen->bhde', k, v)
    out = torch.einsum('bhde,bhdn->bhen', context, q).reshape(batch, 128, height, width)
    return _norm(attention.to_out[1], attention.to_out[0](out))


def _spatial(module: Any, x: Tensor, content: Tensor | None) -> Tensor:
    y = module.proj_in(module.norm(x))
    tokens = y.flatten(2).transpose(1, 2)
    for block in module.transformer_blocks:
        normed = block.norm1(tokens)
        tokens = tokens + _pairs(block.attn1, normed, normed)
        if content is not None:
            tokens = tokens + _pairs(block.attn2, block.norm2(tokens), content[:, None])
        values, gates = block.ff.net[0].proj(block.norm3(tokens)).chunk(2, dim=-1)
        tokens = tokens + block.ff.net[2](values * F.gelu(gates))
    return module.proj_out(tokens.transpose(1, 2).reshape(y.shape))


def _pairs(attention: Any, tokens: Tensor, others: Tensor) -> Tensor:
    batch, count, channels = tokens.shape
    layers = ((attention.to_q, tokens), (attention.to_k, others), (attention.to_v, others))
    q, k, v = (layer(x).view(batch, -1, channels // 32, 32).transpose(1, 2) for layer, x in layers)
    weights = (q @ k.transpose(2, 3) * 32**-0.5).softmax(dim=-1)
    return attention.to_out((weights @ v).transpose(1, 2).reshape(batch, count, channels))


def _up(up: Any, x: Tensor) -> Tensor:
    if isinstance(up, torch.nn.Conv2d):
        return up(x)
    return F.conv2d(F.interpolate(x, scale_factor=2), up[1].weight, up[1].bias, padding=1)
