"""What CLIP sees of an image: a square of its middle, in CLIP's size and statistics."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.encoders.clip import MEAN, STD


def clip_image(image: Tensor, side: int) -> Tensor:
    """Resize an image along its shorter side (bicubic, antialiased), cut out the middle, and normalise.

    Args:
        image: (B, 3, H, W), RGB in [0, 1].
        side: Of the square, in pixels.

    Returns:
        (B, 3, side, side).
    """
    height, width = image.shape[-2:]
    short = min(height, width)
    rows, columns = (max(round(full * side / short), side) for full in (height, width))
    if (rows, columns) != (height, width):
        image = F.interpolate(image, size=(rows, columns), mode='bicubic', antialias=True, align_corners=False)
        image = image.clamp(0, 1)  # as files hold it
    top, left = (rows - side) // 2, (columns - side) // 2
    image = image[..., top : top + side, left : left + side]
    mean, std = (image.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (image - mean) / std
