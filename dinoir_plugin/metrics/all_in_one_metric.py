"""The all-in-one papers' PSNR and SSIM in BasicSR's registry; see :mod:`dinoir_plugin.metrics.functional.all_in_one`.

BasicSR hands over images of 8 bits. RestorationModel hands over what the network gave, not rounded, as the papers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY

from dinoir_plugin.metrics.functional import all_in_one
from dinoir_plugin.metrics.measures import described

ImageArray = np.ndarray[Any, np.dtype[Any]]


@METRIC_REGISTRY.register()
@described(takes_floats=True)
def calculate_psnr_all_in_one(
    img: ImageArray, img2: ImageArray, crop_multiple: int = all_in_one.CROP_MULTIPLE, **kwargs: Any
) -> float:
    """Take the PSNR in dB.

    Args:
        img: Restored, (H, W, 3), BGR, uint8; or RGB, float in [0, 1].
        img2: Target, the same shape and type.
        crop_multiple: Both are cropped about the centre to sides that it divides; 1: not at all.
        **kwargs: Not looked at: BasicSR hands over all that stands in the options.

    Raises:
        ValueError: Images of other types or of different sizes, or none left after cropping.
    """
    return all_in_one.psnr(_as_floats(img), _as_floats(img2), crop_multiple)


@METRIC_REGISTRY.register()
@described(takes_floats=True)
def calculate_ssim_all_in_one(
    img: ImageArray, img2: ImageArray, crop_multiple: int = all_in_one.CROP_MULTIPLE, **kwargs: Any
) -> float:
    """Take scikit-image's SSIM, the mean over R, G and B.

    Args:
        img: Restored, as for :func:`calculate_psnr_all_in_one`; ``img2`` and errors alike.
        img2: Target.
        crop_multiple: Both are cropped about the centre to sides that it divides; 1: not at all.
        **kwargs: Not looked at: BasicSR hands over all that stands in the options.
    """
    return all_in_one.ssim(_as_floats(img), _as_floats(img2), crop_multiple)


def _as_floats(image: ImageArray) -> all_in_one.FloatArray:
    if image.dtype == np.uint8 and image.ndim == 3:
        return image[..., ::-1] / np.float32(255)
    if image.dtype.kind != 'f':
        expected = 'expected an image of 8 bits, BGR, or of floats, RGB in [0, 1]'
        raise ValueError(f'{expected}, got {image.shape} {image.dtype}')
    return image
