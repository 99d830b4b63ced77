"""TransWeather as its paper describes it, on the weights of a package network.

Tokens in rows between reshapings to NCHW, attention by matrix products and softmax, each query beside its pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def textbook_transweather(net: Any, image: Tensor) -> Tensor:
    """Run ``net`` (either form) on (B, 3, H, W), RGB in [-1, 1], whose sides 16 divides, 48 at least."""
    features = _encoded(net.Tenc, image)
    x = features[3]
    tail = net.convtail if hasattr(net, 'Tdec') else net.convproj
    if hasattr(net, 'Tdec'):
        x = _fitting(tail.convd32x(_asked(net.Tdec, x)), x) + x
    for up, dense, skip in (
        (tail.convd16x, tail.dense_4, features[2]),
        (tail.convd8x, tail.dense_3, features[1]),
        (tail.convd4x, tail.dense_2, features[0]),
    ):
        x = _residual(dense[0], _fitting(up(x), skip)) + skip
    x = tail.convd1x(_residual(tail.dense_1[0], tail.convd2x(x)))
    return torch.tanh(net.clean(x))


def _encoded(encoder: Any, image: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    x, branch = image, None
    for stage in (1, 2, 3, 4):
        x = _embedded(getattr(encoder, f'patch_embed{stage}'), x)
        if branch is not None:
            x = x + branch
        if stage < 4:
            branch = _embedded(getattr(encoder, f'mini_patch_embed{stage}'), x)
            branch = _stage(getattr(encoder, f'patch_block{stage}'), getattr(encoder, f'pnorm{stage}'), branch)
        x = _stage(getattr(encoder, f'block{stage}'), getattr(encoder, f'norm{stage}'), x)
        found.append(x)
    return found


def _asked(decoder: Any, x: Tensor) -> Tensor:
    return _stage(decoder.block1, decoder.norm1, _embedded(decoder.patch_embed1, x))


def _embedded(embed: Any, x: Tensor) -> Tensor:
    x = embed.proj(x)
    return _map(embed.norm(_rows(x)), x)


def _stage(blocks: Any, norm: Any, x: Tensor) -> Tensor:
    rows = _rows(x)
    for block in blocks:
        rows = rows + _attention(block.attn, block.norm1(rows), x)
        rows = rows + _feed_forward(block.mlp, block.norm2(rows), x)
    return _map(norm(rows), x)


def _attention(attn: Any, rows: Tensor, like: Tensor) -> Tensor:
    batch, count, width = rows.shape
    source = rows
    if hasattr(attn, 'sr'):
        source = attn.norm(_rows(attn.sr(_map(rows, like))))
    keys, values = (_heads(part, attn.heads) for part in attn.kv(source).chunk(2, dim=-1))
    if hasattr(attn, 'task_query'):
        queries = _heads(attn.q(attn.task_query.expand(batch, -1, -1)), attn.heads)
        queries = F.interpolate(queries, size=(count, width // attn.heads), mode='nearest')
    else:
        queries = _heads(attn.q(rows), attn.heads)
    weights = (queries @ keys.transpose(-2, -1) * (width // attn.heads) ** -0.5).softmax(dim=-1)
    return attn.proj((weights @ values).transpose(1, 2).reshape(batch, count, width))


def _feed_forward(mlp: Any, rows: Tensor, like: Tensor) -> Tensor:
    return mlp.fc2(F.gelu(_rows(mlp.dwconv(_map(mlp.fc1(rows), like)))))


def _residual(block: Any, x: Tensor) -> Tensor:
    return block.conv2(F.relu(block.conv1(x))) * 0.1 + x


def _fitting(x: Tensor, like: Tensor) -> Tensor:
    return x[..., : like.shape[-2], : like.shape[-1]]


def _rows(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _map(rows: Tensor, like: Tensor) -> Tensor:
    batch, _, width = rows.shape
    return rows.transpose(1, 2).reshape(batch, width, *like.shape[-2:])


def _heads(rows: Tensor, count: int) -> Tensor:
    return rows.unflatten(-1, (count, -1)).transpose(1, 2)
