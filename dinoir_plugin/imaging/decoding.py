"""What all of this package shares: arrays of pixels, how they lie, and the step to RGB floats."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]

SWAPS_SIDES = (5, 6, 7, 8)
PNG_MARK = b'\x89PNG\r\n\x1a\n'
BMP_MARK = b'BM'

# float32 on purpose: np.divide would otherwise go by way of float64.
_FULL_SCALE = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65535)}


class ImageFileError(ValueError):
    """An image that cannot be read, restored or written; the message names it and says what to do."""


def upright(image: Array, orientation: int) -> Array:
    """Turn an image as its EXIF orientation (1 to 8) says; (H, W) or (H, W, C) in, a view out."""
    if orientation in SWAPS_SIDES:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def stored_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Read height and width from the first bytes of a PNG or BMP; None for other formats."""
    start = bytes(data[:26])
    if start.startswith(PNG_MARK) and len(start) > 23:
        width, height = struct.unpack('>II', start[16:24])
    elif start.startswith(BMP_MARK) and len(start) > 25:
        width, height = struct.unpack('<ii', start[18:26])
    else:
        return None
    return abs(height), width


def most_pixels() -> int:
    """Give the most pixels that an image may claim to have: where Pillow begins to refuse it as a bomb."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 1 << 62)


def check_size(height: int, width: int, name: str) -> None:
    """Refuse an image that claims to have no pixels, or more than :func:`most_pixels`."""
    if height < 1 or width < 1:
        raise ImageFileError(f'{name}: expected an image, but it claims {width}x{height} pixels')
    if height * width > most_pixels():
        raise ImageFileError(f'{name}: claims {width}x{height} pixels, more than the {most_pixels()} that are decoded. '
                             'Is it an image?')


def to_rgb_float(image: Array) -> FloatArray:
    """Convert what :func:`~dinoir_plugin.imaging.reading.decode_image` returns.

    Args:
        image: uint8 or uint16, shape (H, W) or (H, W, 3), order BGR.

    Returns:
        float32, shape (H, W, 3), order RGB, range [0, 1]; grey is repeated three times.
    """
    channels = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., ::-1]
    return np.divide(channels, _FULL_SCALE[image.dtype], dtype=np.float32, order='C')
