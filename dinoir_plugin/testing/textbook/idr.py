"""IDR as its paper's equations are written, on the weights of a package network.

NCHW, attention head by head with its output projection apart, all 25 taps of the kernels at once beside an unfolded
feature, image by image in the first stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.testing.textbook.restormer import textbook_level, textbook_norm

TYPES = {'denoise': 0, 'derain': 1, 'dehaze': 2, 'deblur': 3, 'lowlight': 4}


def textbook_idr(net: Any, image: Tensor, tasks: Sequence[str] | None = None) -> Outputs:
    """Run ``net`` on (B, 3, H, W), RGB in [0, 1], whose sides 8 divides; with tasks as in its first stage."""
    if tasks is not None:
        parts = [_restore(net, one[None], TYPES[task]) for one, task in zip(image, tasks)]
        gathered = [torch.cat(column) for column in zip(*parts)]
    else:
        gathered = list(_restore(net, image, None))
    return Outputs(gathered[0], aux={'restored': tuple(gathered[1:4]), 'likely': tuple(gathered[4:])})


def _restore(net: Any, image: Tensor, kind: int | None) -> tuple[Tensor, ...]:
    restored, likely = [], []

    def keyed(block: Any, x: Tensor, factor: float) -> Tensor:
        small = image if factor == 1 else F.interpolate(image, scale_factor=factor, mode='bilinear')
        predicted = block.principle.pred(x).flatten(1)
        x, seen = _key_block(block, x, predicted, _keys(net, predicted, kind), small, kind)
        restored.append(seen)
        likely.append(predicted)
        return x

    level1 = keyed(net.kdp_level1, textbook_level(net.encoder_level1, net.patch_embed.proj(image)), 1)
    level2 = keyed(net.kdp_level2, textbook_level(net.encoder_level2, net.down1_2.body(level1)), 0.5)
    level3 = keyed(net.kdp_level3, textbook_level(net.encoder_level3, net.down2_3.body(level2)), 0.25)
    x = textbook_level(net.latent, net.down3_4.body(level3))
    x = textbook_level(net.decoder_level3, net.reduce_chan_level3(torch.cat([net.up4_3.body(x), level3], 1)))
    x = textbook_level(net.decoder_level2, net.reduce_chan_level2(torch.cat([net.up3_2.body(x), level2], 1)))
    x = textbook_level(net.decoder_level1, torch.cat([net.up2_1.body(x), level1], 1))
    return (net.output(textbook_level(net.refinement, x)) + image, *restored, *likely)


def _keys(net: Any, likely: Tensor, kind: int | None) -> Tensor:
    if kind is not None:
        return net.degra_key[kind][None]
    left, values, right = net._decomposed()
    mixed_left = net.dmixer.convU(left.mT.flatten(0, 1)[None, :, :, None])[0, ..., 0]
    mixed_right = net.dmixer.convV(right.mT.flatten(0, 1)[None, :, :, None])[0, ..., 0]
    return torch.stack([mixed_left.T @ torch.diag(weights @ values) @ mixed_right for weights in likely])


def _key_block(
    block: Any, x: Tensor, likely: Tensor, keys: Tensor, image: Tensor, kind: int | None
) -> tuple[Tensor, Tensor]:
    sam = block.SAM
    restored = sam.conv2(x) + image
    weighed = sam.conv1(x) * torch.sigmoid(sam.conv3(restored)) + x
    known = _attention(block.attn, textbook_norm(block.norm1.body, weighed), keys)
    x = _principle(block.principle, x, known, likely, kind)
    ffn = block.ffn
    return x + ffn.fc2(F.gelu(ffn.dwconv(ffn.fc1(textbook_norm(block.norm2.body, x))))), restored


def _attention(attn: Any, x: Tensor, keys: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    key, value = attn.kv(F.layer_norm(keys, keys.shape[-1:])).chunk(2, dim=-1)
    query = attn.q(x).flatten(2).mT

    def heads(tokens: Tensor) -> Tensor:
        return tokens.expand(batch, -1, -1).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)

    weights = (heads(query) @ heads(key).mT * channels**-0.5).softmax(dim=-1)
    out = (weights @ heads(value)).transpose(1, 2).flatten(2)
    return attn.project_out(out.mT.reshape(batch, channels, height, width))


def _principle(principle: Any, x: Tensor, known: Tensor, likely: Tensor, kind: int | None) -> Tensor:
    feature, degradation = principle.mlp_img(x), principle.mlp_degra(known)
    fused = torch.stack([feature, degradation], dim=2).flatten(1, 2)
    if kind in (0, 1):
        return feature + principle.addition.add(fused)
    if kind == 3:
        return _convolved(principle.convolve.convolve, feature, fused)
    if kind in (2, 4):
        return _pointwise(principle.point.weight, feature, fused)
    weights = likely[..., None, None, None]
    feature = feature + principle.addition.add(fused)
    out = (weights[:, 2] + weights[:, 4]) * _pointwise(principle.point.weight, feature, fused)
    out = out + (weights[:, 0] + weights[:, 1]) * feature
    return out + weights[:, 3] * _convolved(principle.convolve.convolve, feature, fused)


def _convolved(layers: Any, feature: Tensor, fused: Tensor) -> Tensor:
    batch, channels, height, width = feature.shape
    kernels = layers(fused).view(batch, channels, 25, height, width)
    patches = F.unfold(F.pad(feature, (2, 2, 2, 2), mode='replicate'), 5)
    return (kernels * patches.view(batch, channels, 25, height, width)).sum(dim=2)


def _pointwise(layers: Any, feature: Tensor, fused: Tensor) -> Tensor:
    gamma, beta = layers(fused).chunk(2, dim=1)
    return gamma * feature + beta
