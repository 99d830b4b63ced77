"""From the bytes of an image file to arrays: decoding, and the step to RGB floats."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]

# float32 on purpose: np.divide would otherwise go by way of float64.
_FULL_SCALE = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65535)}


def decode_image(data: bytes, name: str) -> Array:
    """Decode an image file as stored, without conversion, so that a crop can come before the costly steps.

    Turning marks (EXIF) are not obeyed: BasicSR's LMDB writer drops them, and folder and LMDB must give the same.

    Args:
        data: The file's bytes.
        name: What to call the file in errors.

    Returns:
        uint8 or uint16, shape (H, W) for grey or (H, W, 3) for colour, in OpenCV's order BGR.

    Raises:
        ValueError: The bytes are no image, it has an alpha channel, or other than 8 or 16 bits.
    """
    # OpenCV asserts on an empty buffer instead of answering None.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None:
        raise ValueError(f'{name}: expected an image, but {len(data)} bytes could not be decoded. Is the file whole?')
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f'{name}: expected grey or colour, got {image.shape[2]} channels (transparency). '
                         'Save it without an alpha channel.')
    if image.dtype not in _FULL_SCALE:
        raise ValueError(f'{name}: expected 8 or 16 bits a channel, got {image.dtype}. Convert it to 8-bit PNG.')
    return image


def to_rgb_float(image: Array) -> FloatArray:
    """Convert what `decode_image` returns.

    Args:
        image: uint8 or uint16, shape (H, W) or (H, W, 3), order BGR.

    Returns:
        float32, shape (H, W, 3), order RGB, range [0, 1]; grey is repeated three times.
    """
    channels = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., ::-1]
    return np.divide(channels, _FULL_SCALE[image.dtype], dtype=np.float32, order='C')
