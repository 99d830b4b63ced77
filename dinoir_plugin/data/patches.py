"""Cutting and turning images, the same way for a degraded image, its clean one and its depth map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from dinoir_plugin.core.wording import size_text
from dinoir_plugin.imaging.decoding import Array

# mirror does not repeat the border pixel (OpenCV's own default); replicate repeats it; wrap goes on at the other side
BORDERS = {'mirror': cv2.BORDER_REFLECT_101, 'replicate': cv2.BORDER_REPLICATE, 'wrap': cv2.BORDER_WRAP}


class Crop(NamedTuple):
    """Mark a rectangle of an image, in pixels from its top left corner."""

    top: int
    left: int
    height: int
    width: int


class Turn(NamedTuple):
    """Mirror left-right, then top-bottom, then across the diagonal; all three make the 8 turns of a square."""

    across: bool = False
    down: bool = False
    diagonal: bool = False


def draw_crop(height: int, width: int, size: int, rng: np.random.Generator) -> Crop:
    """Draw a square crop of side ``size``, uniformly placed in an image that is large enough."""
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    return Crop(top, left, size, size)


def centred(height: int, width: int, multiple: int) -> Crop:
    """Give the largest rectangle about the centre whose sides ``multiple`` divides.

    Raises:
        ValueError: There is none, as a side is shorter.
    """
    if min(height, width) < multiple:
        raise ValueError(f'expected sides of at least {multiple} pixels, got {size_text((height, width))}; '
                         'set crop_multiple to 1')  # fmt: skip
    top, left = height % multiple // 2, width % multiple // 2
    return Crop(top, left, height // multiple * multiple, width // multiple * multiple)


def around(crops: Sequence[Crop]) -> Crop:
    """Give the smallest rectangle that holds all crops."""
    top, left = min(crop.top for crop in crops), min(crop.left for crop in crops)
    bottom, right = max(crop.top + crop.height for crop in crops), max(crop.left + crop.width for crop in crops)
    return Crop(top, left, bottom - top, right - left)


def draw_turn(use_hflip: bool, use_rot: bool, rng: np.random.Generator) -> Turn:
    """Draw BasicSR's augmentation: left-right with ``use_hflip``, the two others with ``use_rot``, each at 1/2."""
    across, down, diagonal = (bool(coin) for coin in rng.integers(0, 2, 3))
    return Turn(use_hflip and across, use_rot and down, use_rot and diagonal)


def cut(image: Array, crop: Crop, margin: int, border: str = 'mirror') -> Array:
    """Cut out a crop and ``margin`` pixels on every side of it.

    Args:
        image: Shape (H, W) or (H, W, C).
        crop: Inside the image.
        margin: In pixels.
        border: What stands beyond the image's borders, see BORDERS.

    Returns:
        Shape (height + 2 margin, width + 2 margin) or with C; a view where nothing beyond the borders is needed.
    """
    top, left = crop.top - margin, crop.left - margin
    bottom, right = crop.top + crop.height + margin, crop.left + crop.width + margin
    height, width = image.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return image[top:bottom, left:right]
    kind = BORDERS[border]
    rows = [cv2.borderInterpolate(row, height, kind) for row in range(top, bottom)]
    columns = [cv2.borderInterpolate(column, width, kind) for column in range(left, right)]
    return image[rows][:, columns]


def turn_image(image: Array, turn: Turn) -> Array:
    """Mirror and transpose; shape (H, W) or (H, W, C) in, a view of the same pixels out."""
    if turn.across:
        image = image[:, ::-1]
    if turn.down:
        image = image[::-1]
    return image.swapaxes(0, 1) if turn.diagonal else image


def trim(image: Array, margin: int) -> Array:
    """Take ``margin`` pixels off every side; a view."""
    return image[margin:image.shape[0] - margin, margin:image.shape[1] - margin]
