"""JPEG compression."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np

from dinoir_plugin.data.degradation_base import Context, Degradation, Draw, Range, Within
from dinoir_plugin.data.patches import BORDERS, trim
from dinoir_plugin.imaging.decoding import FloatArray

# OpenCV's JPEGs store colour at half the resolution: blocks of 8x8 colour values stand for 16x16 pixels
GRID = 16


class Jpeg(Degradation):
    """Compress as a JPEG file and decode it again, by OpenCV with its own settings (colour at half the resolution).

    A whole image becomes what its file would hold. A patch has the grid of blocks at a random place, as a patch cut
    from a file has; it is compressed after it was turned.

    Args:
        quality: JPEG's quality from 1 to 100, rounded to a whole number; ``[from, to]`` draws one an image, uniformly,
            and ``{choices: [...]}`` one of these.
    """

    def __init__(self, quality: Annotated[Range, Within(1, 100)]) -> None:
        self.quality = Draw(quality)

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Compress; see `Degradation.apply`. The result has 256 levels in [0, 1]."""
        quality = self.quality(rng)
        top, left = (int(number) for number in rng.integers(0, GRID, 2))
        if not context.whole:
            framed = np.asarray(cv2.copyMakeBorder(image, top, 0, left, 0, BORDERS['mirror']), np.float32)
            return np.ascontiguousarray(jpeg_of(framed, quality)[top:, left:])
        margin = context.margin
        inner = jpeg_of(trim(image, margin), quality)
        return np.asarray(cv2.copyMakeBorder(inner, margin, margin, margin, margin, BORDERS['mirror']), np.float32)


def jpeg_of(image: FloatArray, quality: float) -> FloatArray:
    """Encode and decode.

    Args:
        image: float32, shape (H, W, 3), order RGB; clipped to [0, 1] and rounded to 8 bits.
        quality: From 1 to 100; rounded.

    Returns:
        The same shape and order.
    """
    levels = np.rint(np.clip(image[..., ::-1], 0, 1) * 255).astype(np.uint8)
    _, code = cv2.imencode('.jpg', levels, [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return np.asarray(decoded, np.float32)[..., ::-1] / np.float32(255)
