"""PromptIR as its paper's equations are written, on the weights of a package network.

Restormer's textbook blocks; every map of a prompt is resized by the bilinear formula, weighted and added.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.testing.textbook.restormer import textbook_block, textbook_level


def textbook_promptir(net: Any, image: Tensor) -> Tensor:
    """Run ``net`` on (B, 3, H, W), RGB in [0, 1], whose sides 8 divides."""
    level1 = textbook_level(net.encoder_level1, net.patch_embed.proj(image))
    level2 = textbook_level(net.encoder_level2, net.down1_2.body(level1))
    level3 = textbook_level(net.encoder_level3, net.down2_3.body(level2))
    x = textbook_level(net.latent, net.down3_4.body(level3))

    x = textbook_block(net.noise_level3, torch.cat([x, textbook_prompt(net.prompt3, x)], 1))
    x = net.up4_3.body(net.reduce_noise_level3(x))
    x = textbook_level(net.decoder_level3, net.reduce_chan_level3(torch.cat([x, level3], 1)))

    x = textbook_block(net.noise_level2, torch.cat([x, textbook_prompt(net.prompt2, x)], 1))
    x = net.up3_2.body(net.reduce_noise_level2(x))
    x = textbook_level(net.decoder_level2, net.reduce_chan_level2(torch.cat([x, level2], 1)))

    x = textbook_block(net.noise_level1, torch.cat([x, textbook_prompt(net.prompt1, x)], 1))
    x = net.up2_1.body(net.reduce_noise_level1(x))
    x = textbook_level(net.decoder_level1, torch.cat([x, level1], 1))
    return net.output(textbook_level(net.refinement, x)) + image


def textbook_prompt(prompt: Any, x: Tensor) -> Tensor:
    """Make the prompt (B, dim, H, W) for a feature (B, C, H, W)."""
    batch, _, height, width = x.shape
    logits = x.sum((2, 3)) / (height * width) @ prompt.linear_layer.weight.T + prompt.linear_layer.bias
    weights = logits.exp() / logits.exp().sum(1, keepdim=True)
    maps = prompt.prompt_param[0]
    rows, columns = _bilinear(maps.shape[2], height).to(x), _bilinear(maps.shape[3], width).to(x)
    mixed = []
    for image in range(batch):
        resized = [rows @ one @ columns.T for one in maps]
        mixed.append(torch.stack([weights[image, n] * resized[n] for n in range(len(maps))]).sum(0))
    return F.conv2d(torch.stack(mixed), prompt.conv3x3.weight, padding=1)


def _bilinear(old: int, new: int) -> Tensor:
    """Give (new, old): what each of ``old`` pixels, held at the borders, gives to each of ``new``, at their centres."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for place in range(new):
        centre = min(max((place + 0.5) * old / new - 0.5, 0.0), old - 1.0)
        below = int(centre)
        matrix[place, below] += 1 - (centre - below)
        matrix[place, min(below + 1, old - 1)] += centre - below
    return matrix
