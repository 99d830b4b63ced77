"""Restormer as its paper's equations are written, on the weights of a package network.

NCHW, norms over a rearranged tensor, queries and keys normalised at full size, every 1x1 convolution a convolution, the
output projection apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def unguided(level: Any, x: Tensor) -> Tensor:
    """Leave the output of a level as it is."""
    return x


def textbook_restormer(net: Any, image: Tensor, fuse: Callable[[Any, Tensor], Tensor] = unguided) -> Tensor:
    """Run ``net`` on (B, 3, H, W), RGB in [0, 1], whose sides 8 divides; ``fuse`` gets each level and its output."""

    def run(level: Any, x: Tensor) -> Tensor:
        return fuse(level, textbook_level(level, x))

    level1 = run(net.encoder_level1, net.patch_embed.proj(image))
    level2 = run(net.encoder_level2, net.down1_2.body(level1))
    level3 = run(net.encoder_level3, net.down2_3.body(level2))
    x = run(net.latent, net.down3_4.body(level3))
    x = net.reduce_chan_level3(torch.cat([net.up4_3.body(x), level3], 1))
    x = run(net.decoder_level3, x)
    x = net.reduce_chan_level2(torch.cat([net.up3_2.body(x), level2], 1))
    x = run(net.decoder_level2, x)
    x = run(net.decoder_level1, torch.cat([net.up2_1.body(x), level1], 1))
    return net.output(run(net.refinement, x)) + image


def textbook_level(level: Any, x: Tensor) -> Tensor:
    """Run the blocks of a level on (B, C, H, W), without guidance."""
    for name, block in level.named_children():
        if name != 'guidance':
            x = textbook_block(block, x)
    return x


def textbook_block(block: Any, x: Tensor) -> Tensor:
    """Run a block on (B, C, H, W)."""
    x = x + _attention(block.attn, textbook_norm(block.norm1.body, x))
    return x + _feed_forward(block.ffn, textbook_norm(block.norm2.body, x))


def textbook_norm(body: Any, x: Tensor) -> Tensor:
    """Normalise (B, C, H, W) over the channels."""
    height, width = x.shape[-2:]
    rows = x.flatten(2).transpose(1, 2)
    variance = rows.var(-1, keepdim=True, unbiased=False)
    if body.with_bias:
        rows = (rows - rows.mean(-1, keepdim=True)) / torch.sqrt(variance + 1e-5) * body.weight + body.bias
    else:
        rows = rows / torch.sqrt(variance + 1e-5) * body.weight
    return rows.transpose(1, 2).reshape(x.shape[0], -1, height, width)


def _attention(attn: Any, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    qkv = attn.qkv_dwconv(attn.qkv(x)).chunk(3, dim=1)
    q, k, v = (t.reshape(batch, attn.num_heads, channels // attn.num_heads, height * width) for t in qkv)
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    matrix = (q @ k.transpose(-2, -1) * attn.temperature).softmax(dim=-1)
    return attn.project_out((matrix @ v).reshape(batch, channels, height, width))


def _feed_forward(ffn: Any, x: Tensor) -> Tensor:
    gate, value = ffn.dwconv(ffn.project_in(x)).chunk(2, dim=1)
    return ffn.project_out(F.gelu(gate) * value)
