"""From the bytes of an image file to arrays: decoding, and the step to RGB floats."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]

EXIF_ORIENTATION = 274
SWAPS_SIDES = (5, 6, 7, 8)
JPEG_MARK = b'\xff\xd8'
PNG_MARK = b'\x89PNG\r\n\x1a\n'
BMP_MARK = b'BM'
# What Pillow raises on broken files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)

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
        ValueError: The bytes are no image or not all of one, it has an alpha channel, other than 8 or 16 bits, or more
            pixels than `most_pixels`.
    """
    orientation = _orientation(data, name)
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
    return upright(image, orientation)


def upright(image: Array, orientation: int) -> Array:
    """Turn an image as its EXIF orientation (1 to 8) says; (H, W) or (H, W, C) in, a view out."""
    if orientation in SWAPS_SIDES:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def jpeg_orientation(header: Image.Image) -> int:
    """Read the EXIF orientation of a JPEG from its header; 1, which is upright, for all other formats."""
    return int(header.getexif().get(EXIF_ORIENTATION, 1)) if header.format in ('JPEG', 'MPO') else 1


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


def _orientation(data: bytes, name: str) -> int:
    """Read from its header how an image lies (1 to 8); refuse one that claims to be too large to be decoded."""
    size = stored_size(data)
    if size is not None:
        if size[0] * size[1] > most_pixels():
            raise ValueError(f'{name}: claims {size[1]}x{size[0]} pixels, more than the {most_pixels()} that are '
                             'decoded. Is it an image?')
        return 1
    try:
        with Image.open(io.BytesIO(data)) as header:
            return jpeg_orientation(header)
    except Image.DecompressionBombError as error:
        raise ValueError(f'{name}: {error}') from error
    except BROKEN:
        # what it is OpenCV will say
        return 1


def _is_cut_jpeg(data: bytes) -> bool:
    """Tell whether a JPEG lacks the end mark behind its pixels (a thumbnail before them has one of its own)."""
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
