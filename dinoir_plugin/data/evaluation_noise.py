"""The noise of AdaIR's evaluation and of Perceive-IR's, which both give each test image by its place in the list."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch

from dinoir_plugin.core.constraints import AtLeast
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.degradation_base import Context, Degradation
from dinoir_plugin.imaging.decoding import FloatArray

SIGMAS = (15, 25, 50)  # in whose order numpy's numbers run over the images
FIRST_SEED = 3407  # torch's, of the first image

Noise = np.ndarray[Any, np.dtype[np.floating[Any]]]


class EvaluationNoise(Degradation):
    """Add the very Gaussian noise that the authors of all-in-one methods test with; for whole images in tests.

    Clipped and cut down to 8 bits, as ``quantise: truncate`` of ``gaussian_noise``.

    Args:
        sigma: Standard deviation in 8-bit units: 15, 25 or 50 with numpy, any with torch.
        generator: ``numpy`` (AdaIR's code, and Perceive-IR's with three tasks): numbers of ``RandomState(0)``, image
            after image by their names, with sigma 15, then with 25, then with 50. These are the authors' where all
            images have equally many pixels, as CBSD68's do. ``torch`` (Perceive-IR's code with five tasks): seed 3407
            and the image's number, the same for every sigma.

    Raises:
        OptionsError: A sigma that numpy's numbers are not for.
    """

    def __init__(self, sigma: Annotated[float, AtLeast(0)], generator: Literal['numpy', 'torch'] = 'numpy') -> None:
        if generator == 'numpy' and sigma not in SIGMAS:
            raise OptionsError('sigma', f'expected 15, 25 or 50 with generator: numpy, got {sigma}',
                               'Use generator: torch, or gaussian_noise')  # fmt: skip
        self.sigma = sigma
        self.generator = generator
        self._numbers, self._drawn = np.random.RandomState(0), 0

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Add noise; ``rng`` is not looked at. See `Degradation.apply`.

        Raises:
            ValueError: The image is a patch.
        """
        if not context.whole:
            raise ValueError('evaluation_noise is for whole images in tests: train with gaussian_noise')
        shape = image.shape
        noise = self._from_torch(shape, context) if self.generator == 'torch' else self._from_numpy(shape, context)
        levels = np.clip(np.rint(image * 255) + noise * self.sigma, 0, 255)
        return (np.floor(levels) / 255).astype(np.float32)

    def _from_numpy(self, shape: tuple[int, ...], context: Context) -> Noise:
        size = int(np.prod(shape))
        start = (SIGMAS.index(int(self.sigma)) * context.count + context.number) * size
        if start < self._drawn:
            self._numbers, self._drawn = np.random.RandomState(0), 0
        while self._drawn < start:
            step = min(size, start - self._drawn)
            self._numbers.randn(step)
            self._drawn += step
        self._drawn += size
        return self._numbers.randn(*shape)

    def _from_torch(self, shape: tuple[int, ...], context: Context) -> Noise:
        numbers = torch.Generator().manual_seed(FIRST_SEED + context.number)
        noise: Noise = torch.randn((shape[2], shape[0], shape[1]), generator=numbers).numpy().transpose(1, 2, 0)
        return noise
