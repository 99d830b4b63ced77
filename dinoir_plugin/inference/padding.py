"""Sizes that a network takes, and padding to them."""

from __future__ import annotations

import copy
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.outputs import as_outputs

# tried in this order with networks that do not say themselves what sizes they take: halvings, then windows of any size
TRIAL_SIDE = 64
MULTIPLES = sorted(range(1, TRIAL_SIDE + 1), key=lambda number: (number.bit_count() > 1, number))

PadMode = Literal['mirror', 'zeros']


class SizeRule(NamedTuple):
    """Say which sizes a network takes, and what fills the rest.

    Attributes:
        multiple: What divides both sides.
        minimum: The shortest side.
        pad_mode: ``mirror`` (a side too short to mirror is repeated instead), or ``zeros``.
    """

    multiple: int = 1
    minimum: int = 1
    pad_mode: PadMode = 'mirror'

    def pad(self, image: Tensor) -> Tensor:
        """Pad at the right and at the bottom.

        Args:
            image: (B, C, H, W), any range.

        Returns:
            (B, C, H', W'), the same tensor where nothing is missing.
        """
        height, width = image.shape[-2:]
        bottom, right = self._missing(height), self._missing(width)
        if not bottom and not right:
            return image
        padding = (0, right, 0, bottom)
        if self.pad_mode == 'zeros':
            return F.pad(image, padding)
        return F.pad(image, padding, mode='reflect' if bottom < height and right < width else 'replicate')

    def _missing(self, side: int) -> int:
        # without max(), which an exported graph cannot hold for all sizes
        short = self.minimum - side if side < self.minimum else 0
        return short + -(side + short) % self.multiple


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Mirror (B, C, H, W) at the right and at the bottom until both sides are multiples of ``multiple``."""
    return SizeRule(multiple).pad(image)


def size_rule(network: Any) -> SizeRule:
    """Read the size rule of a network from its attributes.

    ``size_multiple`` is found by trial where the network does not say it, ``size_minimum`` is 1 then, and ``pad_mode``
    ``mirror``.
    """
    minimum = getattr(network, 'size_minimum', 1)
    return SizeRule(size_multiple(network), minimum, getattr(network, 'pad_mode', 'mirror'))


def pad_for(network: Any, image: Tensor) -> Tensor:
    """Pad an image, (B, C, H, W), to a size that a network takes, in the way of that network."""
    return size_rule(network).pad(image)


def any_size(network: nn.Module, image: Tensor, **others: Any) -> Tensor:
    """Restore an image of any size.

    Networks with a ``size_multiple`` pad themselves; for others the image is padded here, and the result cropped.

    Args:
        network: From (B, 3, H, W) to (B, 3, s * H, s * W), s = 1 for all but those that enlarge; of several images
            (``core.outputs``) the final one counts.
        image: (B, 3, H, W).
        **others: What else the network takes.
    """
    if hasattr(network, 'size_multiple'):
        return as_outputs(network(image, **others)).image
    padded = pad_for(network, image)
    restored = as_outputs(network(padded, **others)).image
    scale = restored.shape[-1] // padded.shape[-1]
    return restored[..., : image.shape[-2] * scale, : image.shape[-1] * scale]


def size_multiple(network: Any) -> int:
    """Tell what divides the sides that a network takes: what it says itself, or what is found by trial, once.

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
    """Tell whether sides that are odd numbers of ``multiple`` give an output of their shape, or of it enlarged."""
    least = max(TRIAL_SIDE, getattr(network, 'size_minimum', 1))
    count = 2 * (least // (2 * multiple)) + 1
    height, width = (count + 2) * multiple, (count + 4) * multiple
    try:
        # tensors that the network makes itself, too, are made there
        with torch.no_grad(), torch.device('meta'):
            output = as_outputs(network(torch.empty(1, 3, height, width, device='meta'))).image
        scale = output.shape[-1] // width
        return bool(output.shape[-2:] == (height * scale, width * scale))
    # a foreign network may raise anything at a size that it does not take
    except Exception:  # noqa: BLE001
        return False
