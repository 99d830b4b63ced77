"""Padding to the sizes that a network can take."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# tried in this order with networks that do not say themselves what sizes they take: halvings, then windows of any size
TRIAL_SIDE = 64
MULTIPLES = sorted(range(1, TRIAL_SIDE + 1), key=lambda number: (number.bit_count() > 1, number))


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


def any_size(network: nn.Module, image: Tensor) -> Tensor:
    """What a network gives for an image of any size.

    Networks with a ``size_multiple`` pad themselves; for others the image is padded here, and the result cropped.

    Args:
        network: From (B, 3, H, W) to (B, 3, s * H, s * W), s = 1 for all but those that enlarge.
        image: (B, 3, H, W).
    """
    if hasattr(network, 'size_multiple'):
        restored: Tensor = network(image)
        return restored
    padded = pad_to_multiple(image, size_multiple(network))
    restored = network(padded)
    scale = restored.shape[-1] // padded.shape[-1]
    return restored[..., : image.shape[-2] * scale, : image.shape[-1] * scale]


def size_multiple(network: Any) -> int:
    """What divides the sides that a network takes: what it says itself, or what is found by trial, once.

    The trials run on a copy on the meta device (shapes, no numbers), with sides that twice the multiple divides not.
    """
    if hasattr(network, 'size_multiple'):
        multiple: int = network.size_multiple
    elif hasattr(network, 'found_multiple'):
        multiple = network.found_multiple
    else:
        twin = copy.deepcopy(network).to('meta').eval()
        # where none fits, the network's own error at its first image says more
        multiple = next((multiple for multiple in MULTIPLES if _takes(twin, multiple)), 1)
        network.found_multiple = multiple
    return multiple


def _takes(network: nn.Module, multiple: int) -> bool:
    """Whether sides that are odd numbers of ``multiple`` give an output of their shape, or of it enlarged."""
    count = 2 * (TRIAL_SIDE // (2 * multiple)) + 1
    height, width = count * multiple, (count + 2) * multiple
    try:
        with torch.no_grad():
            output = network(torch.empty(1, 3, height, width, device='meta'))
        scale = output.shape[-1] // width
        return bool(output.shape[-2:] == (height * scale, width * scale))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, ZeroDivisionError):
        return False
