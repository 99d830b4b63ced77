"""Degradations of photographs found anywhere, all in one: blurred, resized, noisy and compressed, more than once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

import cv2
import numpy as np
from basicsr.data import degradations as host

from dinoir_plugin.data.compression import jpeg_of
from dinoir_plugin.data.degradation_base import Context, Degradation, Draw, Range, Within, quantised
from dinoir_plugin.data.patches import BORDERS
from dinoir_plugin.imaging.decoding import FloatArray

Chance = Annotated[Range, Within(0, 1)]
# how likely it is taken, and what it does
Step = tuple[float, Callable[[FloatArray], FloatArray]]

INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR)
GREY = 0.4  # chance of noise that is alike in all colours
PHOTONS = 256  # of white, for Poisson noise of full strength


class RealWorld(Degradation):
    """Degrade in three rounds of random steps, for restoring photographs of unknown history.

    In the manner of Real-ESRGAN (Wang et al., ICCVW 2021), but at the image's own size: blur, resizing, noise and JPEG;
    then blur and noise; then blur, resizing back and JPEG. The steps of a round come in random order, each by its
    chance. Sides are resized to between 0.7 and 2 times their length. It has no motion blur and no grey images.

    Args:
        blur: Chance of blur in the first and the third round, in [0, 1]; half of it in the second. By BasicSR's kernels
            (Gaussian, generalised Gaussian, plateau, and sinc, which rings), of 5 to 19 pixels and sigma 0.2 to 2.2.
            Each argument may be a number, ``[from, to]`` or ``{choices: [...]}``, one draw an image.
        resize: Chance of resizing.
        noise: Chance of noise in the first round; half of it in the second. Gaussian, of sigma 1 to 5 in 8-bit units,
            or Poisson.
        jpeg: Chance of JPEG in the first round (quality 60 to 95) and in the third (80 to 100).
    """

    # more than the kernels reach, and a multiple of a JPEG's grid
    margin = 32

    def __init__(self, blur: Chance = 0.8, resize: Chance = 0.8, noise: Chance = 0.4, jpeg: Chance = 0.4) -> None:
        self.blur, self.resize, self.noise, self.jpeg = Draw(blur), Draw(resize), Draw(noise), Draw(jpeg)

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Degrade; the outermost ``margin`` pixels of the result are not to be used. See `Degradation.apply`."""
        for steps in self._rounds((image.shape[1], image.shape[0]), rng):
            for place in rng.permutation(len(steps)):
                chance, step = steps[place]
                if rng.random() < chance:
                    image = step(image)
        return quantised(image, 'round')

    def _rounds(self, size: tuple[int, int], rng: np.random.Generator) -> list[list[Step]]:
        """Set up the steps of an image of that size, (width, height)."""
        blur, noise, jpeg = self.blur(rng), self.noise(rng), self.jpeg(rng)
        # to another size and back, or neither
        resized = float(rng.random() < self.resize(rng))
        factor = rng.uniform(0.5, 1.4)
        other = round(size[0] / factor), round(size[1] / factor)
        return [
            [(blur, partial(_blurred, rng=rng, widest=19, sigma=2.2, sinc=0.1)),
             (resized, partial(_resized, rng=rng, size=other)),
             (noise, partial(_noisy, rng=rng)),
             (jpeg, partial(_compressed, rng=rng, quality=(60, 95)))],
            [(blur / 2, partial(_blurred, rng=rng, widest=9, sigma=1.5, sinc=0.1)),
             (noise / 2, partial(_noisy, rng=rng))],
            [(blur, partial(_blurred, rng=rng, widest=19, sigma=1.0, sinc=0.8)),
             (resized, partial(_resized, rng=rng, size=size)),
             (jpeg, partial(_compressed, rng=rng, quality=(80, 100)))],
        ]  # fmt: skip


def _resized(image: FloatArray, rng: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    how = INTERPOLATIONS[rng.integers(len(INTERPOLATIONS))]
    return np.asarray(cv2.resize(image, size, interpolation=how), np.float32)


def _compressed(image: FloatArray, rng: np.random.Generator, quality: tuple[int, int]) -> FloatArray:
    return jpeg_of(image, rng.uniform(*quality))


def _noisy(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Add Gaussian noise (in three of five cases) or Poisson noise."""
    channels = 1 if rng.random() < GREY else 3
    if rng.random() < 0.6:
        sigma = rng.uniform(1, 5) / 255
        noise = sigma * rng.standard_normal((*image.shape[:2], channels))
    else:
        bright = np.clip(image, 0, 1).mean(axis=2, keepdims=True) if channels == 1 else np.clip(image, 0, 1)
        noise = rng.uniform(0.01, 0.5) * (rng.poisson(PHOTONS * bright) / PHOTONS - bright)
    return np.clip(image + noise, 0, 1).astype(np.float32)


def _blurred(image: FloatArray, rng: np.random.Generator, widest: int, sigma: float, sinc: float) -> FloatArray:
    """Blur by a kernel of 5 to ``widest`` pixels and sigma up to ``sigma``, or by chance ``sinc`` by a sinc filter."""
    size = int(rng.integers(2, widest // 2 + 1)) * 2 + 1
    if rng.random() < sinc:
        cutoff = rng.uniform(math.pi / (3 if size < 13 else 5), math.pi)
        with np.errstate(divide='ignore', invalid='ignore'):  # at its middle, which the host fills in
            kernel = host.circular_lowpass_kernel(cutoff, size)
    else:
        kernel = _kernel(size, sigma, rng)
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=BORDERS['mirror']), np.float32)


def _kernel(size: int, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Draw one of BasicSR's kernels, with sums of 1; three in ten are longer than wide, at any angle."""
    across, along = rng.uniform(0.2, sigma, 2)
    given = size, across, along, rng.uniform(-math.pi, math.pi)
    isotropic = bool(rng.random() < 0.7)
    kind = rng.random()
    if kind < 0.7:
        return host.bivariate_Gaussian(*given, isotropic=isotropic)
    if kind < 0.85:
        # exponents below 1, with a peak, as often as above
        exponent = rng.uniform(*((0.5, 1) if rng.random() < 0.5 else (1, 2)))
        return host.bivariate_generalized_Gaussian(*given, exponent, isotropic=isotropic)
    return host.bivariate_plateau(*given, rng.uniform(1, 1.5), isotropic=isotropic)
