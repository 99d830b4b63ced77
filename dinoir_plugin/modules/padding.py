"""Padding to the sizes that a network can take."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom until both sides are multiples of ``multiple``.

    The border is mirrored; a side too short to mirror (shorter than the padding) is repeated instead.

    Args:
        image: (B, C, H, W), any range.
        multiple: The divisor wanted, in pixels.

    Returns:
        (B, C, H', W'), the same tensor where nothing is missing.
    """
    height, width = image.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return image
    mode = 'reflect' if bottom < height and right < width else 'replicate'
    return F.pad(image, (0, right, 0, bottom), mode=mode)
