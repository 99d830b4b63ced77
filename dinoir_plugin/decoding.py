"""From the bytes of an image file to arrays: decoding, and the step to RGB floats."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]

EXIF_ORIENTATION = 274
SWAPS_SIDES = (5, 6, 7, 8)
JPEG_MARK = b'\xff\xd8'
EXIF_MARK = b'Exif\x00\x00'
# the first block of a JPEG, or the second
EXIF_WITHIN = 1 << 10

# float32 on purpose: np.divide would otherwise go by way of float64.
_FULL_SCALE = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65535)}


def decode_image(data: bytes, name: str) -> Array:
    """Decode an image file without converting its pixels, so that a crop can come before the costly steps.

    A JPEG that its EXIF orientation turns, as cameras write them, is turned upright.

    Args:
        data: The file's bytes.
        name: What to call the file in errors.

    Returns:
        uint8 or uint16, shape (H, W) for grey or (H, W, 3) for colour, in OpenCV's order BGR.

    Raises:
        ValueError: The bytes are no image or not all of one, it has an alpha channel, or other than 8 or 16 bits.
    """
    # OpenCV asserts on an empty buffer instead of answering None; older ones fill what is missing of a JPEG with grey
    whole = bool(data) and not _is_cut_jpeg(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if whole else None
    except cv2.error as error:
        raise ValueError(f'{name}: OpenCV refuses it: {error.err}') from error
    if image is None:
        raise ValueError(f'{name}: expected an image, but {len(data)} bytes could not be decoded. Is the file whole?')
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f'{name}: expected grey or colour, got {image.shape[2]} channels (transparency). '
                         'Save it without an alpha channel.')
    if image.dtype not in _FULL_SCALE:
        raise ValueError(f'{name}: expected 8 or 16 bits a channel, got {image.dtype}. Convert it to 8-bit PNG.')
    return upright(image, _orientation(data)) if data.startswith(JPEG_MARK) else image


def upright(image: Array, orientation: int) -> Array:
    """Turn a picture as its EXIF orientation (1 to 8) says; (H, W) or (H, W, C) in, a view out."""
    if orientation in SWAPS_SIDES:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def jpeg_orientation(header: Image.Image) -> int:
    """The EXIF orientation of a JPEG, from its header; 1, which is upright, for all other formats."""
    return int(header.getexif().get(EXIF_ORIENTATION, 1)) if header.format in ('JPEG', 'MPO') else 1


def _orientation(data: bytes) -> int:
    if EXIF_MARK not in data[:EXIF_WITHIN]:
        return 1
    with Image.open(io.BytesIO(data)) as header:
        return jpeg_orientation(header)


def _is_cut_jpeg(data: bytes) -> bool:
    """Whether a JPEG has no end mark behind the start of its pixels (a thumbnail before them has one of its own)."""
    if not data.startswith(JPEG_MARK):
        return False
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], 'big')
    return data.rfind(b'\xff\xd9', place) < 0


def to_rgb_float(image: Array) -> FloatArray:
    """Convert what `decode_image` returns.

    Args:
        image: uint8 or uint16, shape (H, W) or (H, W, 3), order BGR.

    Returns:
        float32, shape (H, W, 3), order RGB, range [0, 1]; grey is repeated three times.
    """
    channels = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., ::-1]
    return np.divide(channels, _FULL_SCALE[image.dtype], dtype=np.float32, order='C')
