"""Too little light, all over or in places. For want of pairs, and for tests; no stand-in for real photographs."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np

from dinoir_plugin.data.degradation_base import Context, Degradation, Draw, Quantise, Range, Within, quantised
from dinoir_plugin.imaging.decoding import FloatArray

# of a shadow's outline: corners, and how far they are from its middle in shorter sides of the image
CORNERS = (5, 10)
REACH = (0.2, 0.6)


class LowLight(Degradation):
    """Darken by ``scale image^gamma`` and add the noise of few photons (as Lv et al., MBLLEN, BMVC 2018, make pairs).

    Real cameras also change colours in the dark, and their noise has other sources.

    Args:
        gamma: Exponent, at least 1; a number, ``[from, to]`` or ``{choices: [...]}``, one draw an image, as each
            argument.
        scale: What white becomes, in [0, 1].
        photons: How many photons white stands for, from 1 to 100000; the fewer, the noisier.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        gamma: Annotated[Range, Within(1)] = (2.0, 3.5),
        scale: Annotated[Range, Within(0, 1)] = (0.5, 1.0),
        photons: Annotated[Range, Within(1, 100000)] = 200,
        quantise: Quantise = 'round',
    ) -> None:
        self.gamma = Draw(gamma)
        self.scale = Draw(scale)
        self.photons = Draw(photons)
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Darken; see `Degradation.apply`."""
        gamma, scale, photons = self.gamma(rng), self.scale(rng), self.photons(rng)
        dark = scale * np.clip(image, 0, 1) ** np.float32(gamma)
        return quantised((rng.poisson(photons * dark) / photons).astype(np.float32), self.quantise)


class Shadow(Degradation):
    """Darken a part of the image, of irregular outline and with a soft border: ``image (1 - darkness shadow)``.

    Real shadows follow the scene, and have the colour of the light that is left.

    Args:
        darkness: What share of the light is taken away in the shadow, in [0, 1]; a number, ``[from, to]`` or
            ``{choices: [...]}``, one draw an image.
        softness: Width of the border, as the standard deviation of a Gaussian in shorter sides of the image, above 0
            and at most 0.5.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        darkness: Annotated[Range, Within(0, 1)] = (0.4, 0.8),
        softness: Annotated[Range, Within(0, 0.5, above_low=True)] = (0.01, 0.04),
        quantise: Quantise = 'round',
    ) -> None:
        self.darkness = Draw(darkness)
        self.softness = Draw(softness)
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Darken a part; see `Degradation.apply`. Range as of the image."""
        darkness = np.float32(self.darkness(rng))
        shadow = self.layer(image.shape[0], image.shape[1], rng)[..., None]
        return quantised(image * (1 - darkness * shadow), self.quantise)

    def layer(self, height: int, width: int, rng: np.random.Generator) -> FloatArray:
        """Draw the shadow alone: float32, shape (height, width), 1 in it, 0 outside."""
        side = min(height, width)
        sigma = self.softness(rng) * side
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(*CORNERS)))
        reach = side * rng.uniform(*REACH, len(angles))
        middle = rng.uniform(0, 1, 2) * (width, height)
        corners = middle + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shadow = cv2.fillPoly(np.zeros((height, width), np.float32), [np.rint(corners).astype(np.int32)], 1.0)
        return np.asarray(cv2.GaussianBlur(shadow, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)
