"""The semantic prior of Perceive-IR (E4): what a frozen DINOv2 sees in a degraded image, as vectors of four depths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.encoders.frozen import FrozenEncoder
from dinoir_plugin.nn.precision import full

SIDE = 224
LAYERS = (0, 3, 7, 11)  # blocks 1, 4, 8 and 12 of DINOv2-B

Fit = Literal['squash', 'crop']


def semantic_vectors(
    encoder: FrozenEncoder, image: Tensor, layers: Sequence[int] = LAYERS, fit: Fit = 'squash'
) -> Tensor:
    """Give the class tokens behind blocks of different depths, before the final norm.

    Position embeddings are resized as Hugging Face's code does, since the release uses that; Meta's adds an offset.

    Args:
        encoder: A transformer with a class token.
        image: Degraded, (B, 3, H, W), RGB in [0, 1], any size.
        layers: Blocks, from zero, from shallow to deep.
        fit: See :func:`resized`.

    Returns:
        (B, number of layers, width).
    """
    tokens = encoder.class_tokens(resized(image, fit), layers, offset=False)
    return torch.stack([tokens[layer] for layer in layers], dim=1)


def resized(image: Tensor, fit: Fit = 'squash', side: int = SIDE) -> Tensor:
    """Resize an image to a square, bicubically, without antialiasing and without clipping.

    Args:
        image: (B, 3, H, W).
        fit: ``squash`` (both sides by their own factor, as released) or ``crop`` (by the factor of the shorter side,
            then the centre).
        side: Of the square, in pixels.

    Returns:
        (B, 3, side, side), float32 at least.
    """
    size = [side, side]
    if fit == 'crop':
        shorter = min(image.shape[-2:])
        size = [max(side, round(length * side / shorter)) for length in image.shape[-2:]]
    square = F.interpolate(full(image), size=size, mode='bicubic', align_corners=False)
    top, left = ((length - side) // 2 for length in size)
    return square[..., top : top + side, left : left + side]
