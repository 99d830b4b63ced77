"""Degradations by the names that an options file uses, among them noise and blur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np

from dinoir_plugin.core.constraints import AtLeast, Filled
from dinoir_plugin.core.construct import construct, look_up
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import join, read
from dinoir_plugin.data.compression import Jpeg
from dinoir_plugin.data.degradation_base import (
    DEGRADATION_REGISTRY,
    Context,
    Degradation,
    Draw,
    Quantise,
    Range,
    Within,
    quantised,
)
from dinoir_plugin.data.evaluation_noise import EvaluationNoise
from dinoir_plugin.data.holes import Holes
from dinoir_plugin.data.lighting import LowLight, Shadow
from dinoir_plugin.data.motion import MotionBlur
from dinoir_plugin.data.real_world import RealWorld
from dinoir_plugin.data.weather import Haze, Raindrops, RainStreaks, Snow
from dinoir_plugin.imaging.decoding import FloatArray


class GaussianNoise(Degradation):
    """Add white Gaussian noise, independent in every pixel and channel.

    The noise of the blind denoising literature (Zhang et al., DnCNN, IEEE TIP 2017) and of all-in-one restoration
    (Li et al., AirNet, CVPR 2022; Potlapalli et al., PromptIR, NeurIPS 2023).

    Args:
        sigma: Standard deviation in 8-bit units (25 means 25/255), at least 0. A range ``[from, to]`` draws one sigma
            an image, uniformly; ``{choices: [15, 25, 50]}`` draws one of these, each as often.
        quantise: ``round`` clips to [0, 1] and rounds to 8 bits, as if the noisy image had been a file. ``truncate``
            clips and cuts the fraction off, as the conversion to 8 bits in AirNet and PromptIR does: to compare with
            their figures. ``none`` leaves floats, not clipped: the range is then unbounded, as in Restormer and KAIR.
    """

    def __init__(self, sigma: Annotated[Range, Within(0)], quantise: Quantise = 'round') -> None:
        self.sigma = Draw(sigma)
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Add noise; see `Degradation.apply` and ``quantise`` for the range."""
        sigma = np.float32(self.sigma(rng) / 255)
        noisy = rng.standard_normal(image.shape, dtype=np.float32)
        noisy *= sigma
        noisy += image
        return quantised(noisy, self.quantise)


class GaussianBlur(Degradation):
    """Blur by an isotropic Gaussian, the defocus-like blur of the paper's four-task setting.

    Args:
        kernel_size: Side of the square kernel in pixels, odd; the Gaussian is cut there and made to sum to 1.
        sigma: Standard deviation in pixels, above 0; ``[from, to]`` draws one sigma an image, uniformly, and
            ``{choices: [...]}`` one of these.
        quantise: ``round`` makes 8 bits of the result, as if the blurred image had been a file; ``truncate`` and
            ``none`` as for noise. Without that step the blur can be undone almost exactly, which no real blurred
            image can.
        border: What the blur sees beyond the image's borders: ``mirror`` (OpenCV's default, as GaussianBlur on a
            whole image gives), ``replicate``, or ``wrap``, the circular convolution of the deblurring literature
            that works in the Fourier domain (KAIR: Zhang et al., USRNet, CVPR 2020). Inside an image a patch is
            always blurred with its real surroundings.
    """

    def __init__(
        self,
        kernel_size: Annotated[int, AtLeast(1)],
        sigma: Annotated[Range, Within(0, above_low=True)],
        quantise: Quantise = 'round',
        border: Literal['mirror', 'replicate', 'wrap'] = 'mirror',
    ) -> None:
        self.kernel_size = kernel_size
        if kernel_size % 2 == 0:
            raise OptionsError('kernel_size', f'expected an odd number, got {kernel_size}',
                               f'Take {kernel_size - 1} or {kernel_size + 1}')
        self.sigma = Draw(sigma)
        self.quantise = quantise
        self.border = border
        self.margin = kernel_size // 2

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Blur; the outermost ``margin`` pixels of the result are not to be used. See `Degradation.apply`."""
        sigma = self.sigma(rng)
        size = (self.kernel_size, self.kernel_size)
        blurred = np.asarray(cv2.GaussianBlur(image, size, sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)
        return quantised(blurred, self.quantise)


OWN: dict[str, type[Degradation]] = {
    'gaussian_noise': GaussianNoise,
    'gaussian_blur': GaussianBlur,
    'rain_streaks': RainStreaks,
    'haze': Haze,
    'snow': Snow,
    'raindrops': Raindrops,
    'low_light': LowLight,
    'shadow': Shadow,
    'jpeg': Jpeg,
    'motion_blur': MotionBlur,
    'holes': Holes,
    'real_world': RealWorld,
    'evaluation_noise': EvaluationNoise,
}
for _name, _kind in OWN.items():
    # by another name than the class's, which BasicSR's own `register` takes
    DEGRADATION_REGISTRY._do_register(_name, _kind)


def build_degradations(options: object, path: str) -> list[Degradation]:
    """Make the degradations of a task.

    Args:
        options: A block with ``type`` and the parameters of that class, or a list of such blocks.
        path: The option's path, for errors.

    Returns:
        The degradations in the order in which they are applied.
    """
    if isinstance(options, Sequence) and not isinstance(options, str):
        if not options:
            raise OptionsError(path, 'expected at least one degradation, got an empty list')
        return [_build(entry, f'{path}[{number}]') for number, entry in enumerate(options)]
    return [_build(options, path)]


def _build(options: object, path: str) -> Degradation:
    parameters = read(Annotated[Mapping[str, Any], Filled()], options, path)
    name, where = parameters.pop('type', None), join(path, 'type')
    if not isinstance(name, str):
        read(Literal[tuple(DEGRADATION_REGISTRY.keys())], name, where)
    made: Degradation = construct(look_up(DEGRADATION_REGISTRY, name, where), path, parameters)
    return made
