"""PSNR and SSIM as the all-in-one papers take them: AirNet, PromptIR and those that compare with them.

BasicSR's `calculate_psnr` and `calculate_ssim` look at images of 8 bits, in RGB or Y, and take SSIM over Gaussian
windows of 11 pixels (sigma 1.5), as Wang et al. do. The all-in-one papers look at floats, clipped to [0, 1] but
not rounded, in RGB, and take scikit-image's SSIM with its defaults: uniform windows of 7 pixels, unbiased covariance.
Their images are cropped about the centre to sides that 16 divides. Figures of the two conventions must not be mixed.

Here the image is cropped after it was restored, and there before: pixels at the border have other surroundings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
CROP_MULTIPLE = 16


@METRIC_REGISTRY.register()
def calculate_psnr_all_in_one(img: FloatArray, img2: FloatArray, crop_multiple: int = CROP_MULTIPLE) -> float:
    """PSNR in dB of floats, RGB.

    Args:
        img: Restored, (H, W, 3), [0, 1], not rounded to 8 bits.
        img2: Target, the same shape and range.
        crop_multiple: Both are cropped about the centre to sides that it divides; 1: not at all.

    Raises:
        ValueError: Images of other types or of different sizes, or none left after cropping.
    """
    restored, target = _cropped(img, img2, crop_multiple)
    with np.errstate(divide='ignore'):  # equal images: infinite
        return float(peak_signal_noise_ratio(target, restored, data_range=1))


@METRIC_REGISTRY.register()
def calculate_ssim_all_in_one(img: FloatArray, img2: FloatArray, crop_multiple: int = CROP_MULTIPLE) -> float:
    """scikit-image's SSIM of floats, the mean over R, G and B; arguments as :func:`calculate_psnr_all_in_one`."""
    restored, target = _cropped(img, img2, crop_multiple)
    return float(structural_similarity(target, restored, data_range=1, channel_axis=-1))


# what Validation asks: BasicSR's own metrics get images of 8 bits, BGR
for _metric in (calculate_psnr_all_in_one, calculate_ssim_all_in_one):
    _metric.takes_floats = True


def _cropped(img: FloatArray, img2: FloatArray, multiple: int) -> tuple[FloatArray, FloatArray]:
    if img.shape != img2.shape or img.dtype.kind != 'f' or img2.dtype.kind != 'f':
        shapes = f'{img.shape} {img.dtype} and {img2.shape} {img2.dtype}'
        raise ValueError(f'expected two images of one size, floats in [0, 1], got {shapes}')
    height, width = (side // multiple * multiple for side in img.shape[:2])
    if not height or not width:
        raise ValueError(f'expected sides of at least {multiple} pixels, got {img.shape[:2]}; set crop_multiple to 1')
    top, left = (img.shape[0] - height) // 2, (img.shape[1] - width) // 2
    window = (slice(top, top + height), slice(left, left + width))
    return img[window], img2[window]
