"""PSNR and SSIM as the all-in-one papers take them: AirNet, PromptIR and those that compare with them.

BasicSR's `calculate_psnr` and `calculate_ssim` look at images of 8 bits, in RGB or Y, and take SSIM over Gaussian
windows of 11 pixels (sigma 1.5), as Wang et al. do. The all-in-one papers look at floats, clipped to [0, 1] but
not rounded, in RGB, and take scikit-image's SSIM with its defaults: uniform windows of 7 pixels, unbiased covariance.
Their images are cropped about the centre to sides that 16 divides. Figures of the two conventions must not be mixed.

Here the image is cropped after it was restored, and there before, so that pixels at the border have other surroundings.
A task's `crop_multiple` crops before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dinoir_plugin.core.wording import size_text
from dinoir_plugin.data.patches import centred, cut

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
CROP_MULTIPLE = 16


def psnr(restored: FloatArray, target: FloatArray, crop_multiple: int = CROP_MULTIPLE) -> float:
    """Take the PSNR in dB.

    Args:
        restored: (H, W, 3), RGB, float in [0, 1].
        target: The same shape and range.
        crop_multiple: Both are cropped about the centre to sides that it divides; 1: not at all.

    Raises:
        ValueError: Images of different sizes, or none left after cropping.
    """
    restored, target = _cropped(restored, target, crop_multiple)
    with np.errstate(divide='ignore'):  # equal images: infinite
        return float(peak_signal_noise_ratio(target, restored, data_range=1))


def ssim(restored: FloatArray, target: FloatArray, crop_multiple: int = CROP_MULTIPLE) -> float:
    """Take scikit-image's SSIM, the mean over R, G and B; arguments as :func:`psnr`."""
    restored, target = _cropped(restored, target, crop_multiple)
    return float(structural_similarity(target, restored, data_range=1, channel_axis=-1))


def _cropped(restored: FloatArray, target: FloatArray, multiple: int) -> tuple[FloatArray, FloatArray]:
    if restored.shape != target.shape:
        sizes = ' and '.join(size_text(image.shape) for image in (restored, target))
        raise ValueError(f'expected two images of one size, got {sizes}')
    crop = centred(target.shape[0], target.shape[1], multiple)
    return cut(restored, crop, 0), cut(target, crop, 0)
