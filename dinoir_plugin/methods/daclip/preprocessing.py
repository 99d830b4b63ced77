"""What CLIP sees of an image: a square of its middle, in CLIP's size and statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.encoders.clip import MEAN, STD
from dinoir_plugin.nn.colours import normalised


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
    # sizes and places as torchvision has them, which CLIP was trained with
    rows, columns = (full * side // short for full in (height, width))
    # along one axis after the other, each time within the range of a file, as Pillow does it
    for size in ((height, columns), (rows, columns)):
        if size != image.shape[-2:]:
            image = F.interpolate(image, size=size, mode='bicubic', antialias=True, align_corners=False).clamp(0, 1)
    top, left = round((rows - side) / 2), round((columns - side) / 2)
    return normalised(image[..., top : top + side, left : left + side], MEAN, STD)


def clip_views(image: Tensor, side: int, views: int) -> list[Tensor]:
    """Prepare squares that lie evenly along the longer side of an image; the one in the middle for one view.

    Args:
        image: (B, 3, H, W), RGB in [0, 1].
        side: Of a square, in pixels.
        views: How many.

    Returns:
        (B, 3, side, side) for each, normalised. The one in the middle is cut out of the resized image, as the authors
        do; of several each is resized by itself.
    """
    if torch.compiler.is_exporting():
        return [normalised(_view_in_a_graph(image, side, number, views), MEAN, STD) for number in range(views)]
    if views == 1:
        return [clip_image(image, side)]
    height, width = image.shape[-2:]
    short = min(height, width)
    places = [[_start(full, short, number, views) for full in (height, width)] for number in range(views)]
    return [clip_image(image[..., top : top + short, left : left + short], side) for top, left in places]


def _start(full: Any, short: Any, number: int, views: int) -> Any:
    """Give where a square begins on an axis of ``full`` pixels; it is ``short`` wide, the shorter axis."""
    return (full - short) * number // (views - 1)


def _view_in_a_graph(image: Tensor, side: int, number: int, views: int) -> Tensor:
    """Resize and cut out (B, 3, side, side) by two matrices, which an exported graph holds for all sizes."""
    short: Any = torch.sym_min(*image.shape[-2:])
    matrices = []
    for full in image.shape[-2:]:
        if views == 1:
            matrices.append(_resizing(torch.arange(full), full, full * side // short, side))
        else:
            pixels = torch.arange(full) - _start(full, short, number, views)
            matrices.append(_resizing(pixels, short, side, side))
    rows, columns = (matrix.to(image) for matrix in matrices)
    return (rows @ (image @ columns.T).clamp(0, 1)).clamp(0, 1)


def _resizing(pixels: Tensor, size: Any, resized: Any, side: int) -> Tensor:
    """Write the resizing of a part of an axis, and the cut, as a matrix: antialiased, cubic with a = -0.5.

    Args:
        pixels: Of the axis, (full,) whole numbers, counted from where the part begins.
        size: Pixels of the part.
        resized: What these become.
        side: How many of those are kept, in the middle.

    Returns:
        (side, full).
    """
    more = resized - side
    first = more // 2 + more % 4 // 3  # half of it, in between rounded to even
    scale = size / resized
    centres = (torch.arange(side) + first + 0.5) * scale
    distance = (pixels + 0.5 - centres[:, None]).abs().div(torch.sym_max(scale, 1.0)).clamp(max=2)
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, far) * ((pixels >= 0) & (pixels < size))
    return weights / weights.sum(dim=1, keepdim=True)
