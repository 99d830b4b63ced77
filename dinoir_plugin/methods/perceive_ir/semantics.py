"""The semantic prior of Perceive-IR (E4): what a frozen DINOv2 sees in a degraded image, as vectors of four depths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.frozen import FrozenEncoder, frozen_encoder
from dinoir_plugin.nn.precision import full

SIDE = 224
LAYERS = (0, 3, 7, 11)  # blocks 1, 4, 8 and 12 of DINOv2-B

Fit = Literal['squash', 'crop']
Semantics = Literal['class', 'spatial']


def semantic_encoder(
    name: str, weights: str = 'auto', layers: Sequence[int] = LAYERS, model_args: Mapping[str, Any] | None = None
) -> tuple[FrozenEncoder, tuple[int, ...]]:
    """Give the process's one frozen encoder with these options, and the layers that are read of it.

    Args:
        name: timm's name of a transformer with a class token, such as ``vit_base_patch14_dinov2``, or torch.hub's of
            DINOv2.
        weights: ``auto`` (timm's download), ``random`` (for trials) or a file's path.
        layers: Four blocks, from zero, from shallow to deep.
        model_args: Arguments for timm, such as a tiny model's ``{depth: 4, embed_dim: 96}``.

    Raises:
        OptionsError: As :func:`frozen_encoder`, no class token, or other than four blocks that there are.
    """
    encoder = frozen_encoder(name, weights, model_args)
    encoder.check_class_token()
    chosen = encoder.check_layers(layers)
    if len(chosen) != len(LAYERS):
        raise OptionsError('layers', f'expected {len(LAYERS)} blocks, from shallow to deep, got {list(chosen)}')
    return encoder, chosen


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


def semantic_maps(encoder: FrozenEncoder, image: Tensor, layers: Sequence[int] = LAYERS) -> Tensor:
    """Give the patch tokens behind blocks of different depths, before the final norm, of the whole image squashed.

    Neither the paper nor the release has them.

    Args:
        encoder: A transformer.
        image: Degraded, (B, 3, H, W), RGB in [0, 1], any size.
        layers: Blocks, from zero, from shallow to deep.

    Returns:
        (B, number of layers, width, rows, columns), of the encoder's grid over the image.
    """
    maps = encoder(resized(image), layers)
    return torch.stack([maps[layer] for layer in layers], dim=1)


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
