"""How noisy an image is, estimated from the image alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.nn.precision import full

# the median of |z| for a standard normal z
NORMAL_MEDIAN = 0.6745


def estimate_sigma(image: Tensor) -> Tensor:
    """Estimate the standard deviation of white noise in images (Donoho and Johnstone, Biometrika 1994, section 4.2).

    ``median(|d|) / 0.6745`` over the diagonal details ``d = (a - b - c + e) / 2`` of the Haar transform, ``a, b``
    above ``c, e`` in squares of 2x2 pixels; the channels' values averaged. Few details come from edges, and the median
    does not mind them. Details that are exactly zero are left out, as in ``skimage.restoration.estimate_sigma``: areas
    that are black, saturated or filled in show no noise.

    Args:
        image: (B, C, H, W), any range, sides of at least 2; the last row or column of an odd number is not looked at.

    Returns:
        (B,), on the scale of ``image``, float32 at least, without gradient.
    """
    height, width = image.shape[-2:]
    squares = F.pixel_unshuffle(full(image.detach())[..., : height // 2 * 2, : width // 2 * 2], 2)
    a, b, c, e = squares.unflatten(1, (-1, 4)).flatten(3).unbind(dim=2)
    details = ((a - b - c + e) / 2).abs().sort(dim=-1).values
    count = details.shape[-1]
    zeros = (details == 0).sum(dim=-1, keepdim=True)
    # the two in the middle of what is not zero; one and the same where that is an odd number
    middle = torch.cat([(count + zeros - 1) // 2, (count + zeros) // 2], dim=-1).clamp(max=count - 1)
    return details.gather(-1, middle).mean(dim=(1, 2)) / NORMAL_MEDIAN
