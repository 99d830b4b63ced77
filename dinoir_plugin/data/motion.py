"""Blur by motion of the camera."""

from __future__ import annotations

import math
from typing import Annotated

import cv2
import numpy as np

from dinoir_plugin.data.degradation_base import Context, Degradation, Draw, Quantise, Range, Within, quantised
from dinoir_plugin.data.weather import streak_kernel
from dinoir_plugin.imaging.decoding import FloatArray

SPREAD = 0.4  # deviation across the line in pixels, so that a line between two columns is as thin as one on a column


class MotionBlur(Degradation):
    """Blur along a straight line, as a camera does that moves evenly while the shutter is open.

    The whole image moves alike. Shaken hands draw curves and moving things blur by themselves (Nah et al., GoPro, CVPR
    2017): this is no stand-in for such pairs.

    Args:
        length: Length of the line in pixels, at least 1; ``[from, to]`` draws one an image, uniformly, and
            ``{choices: [...]}`` one of these.
        angle: Its direction in degrees from straight down, drawn alike.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        length: Annotated[Range, Within(1, 200)] = (5, 20),
        angle: Annotated[Range, Within(-90, 90)] = (-90, 90),
        quantise: Quantise = 'round',
    ) -> None:
        self.length = Draw(length)
        self.angle = Draw(angle)
        self.quantise = quantise
        self.margin = math.ceil(max(self.length.numbers) / 2 + 3 * SPREAD)

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Blur; the outermost ``margin`` pixels of the result are not to be used. See `Degradation.apply`."""
        kernel = streak_kernel(self.angle(rng), self.length(rng), SPREAD)
        blurred = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
        return quantised(np.asarray(blurred, np.float32), self.quantise)
