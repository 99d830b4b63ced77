"""LPIPS and DISTS in BasicSR's registry; see :mod:`dinoir_plugin.metrics.functional.perceptual`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from dinoir_plugin.metrics.functional import perceptual
from dinoir_plugin.metrics.measures import ImageArray, described
from dinoir_plugin.metrics.pretrained import CPU, ByteArray, to_rgb


def _prepare_lpips(net: str = 'alex', **kwargs: Any) -> None:
    perceptual.lpips_network(net)


def _prepare_dists(**kwargs: Any) -> None:
    perceptual.dists_network()


@METRIC_REGISTRY.register(suffix='basicsr')
@described(takes_device=True, lower_is_better=True, prepare=_prepare_lpips)
def calculate_lpips(
    img: ByteArray,
    img2: ByteArray,
    net: str = 'alex',
    crop_border: int = 0,
    device: torch.device = CPU,
    **kwargs: Any,
) -> float:
    """Take LPIPS; lower is better.

    Args:
        img: Restored, (H, W, 3), BGR, uint8.
        img2: Target, the same shape and range.
        net: ``alex``, which the authors advise for measuring, or ``vgg``.
        crop_border: Pixels left out at each side.
        device: Where the network runs.
        **kwargs: Not looked at: BasicSR hands over all that stands in the options.

    Raises:
        OptionsError: Another network, no extra ``metrics``, or weights that cannot be had.
        ValueError: Images of other types, of different sizes, or too small for the network.
    """
    return perceptual.lpips(_inner(img, crop_border, device), _inner(img2, crop_border, device), net)


@METRIC_REGISTRY.register(suffix='basicsr')
@described(takes_floats=True, takes_device=True, lower_is_better=True, prepare=_prepare_lpips)
def calculate_lpips_floats(
    img: ImageArray,
    img2: ImageArray,
    net: str = 'alex',
    device: torch.device = CPU,
    **kwargs: Any,
) -> float:
    """Take LPIPS of what the network gave, not rounded to 8 bits; lower is better.

    Papers that measure so do not clip either, which is done here: figures differ where their values leave [0, 1].

    Args:
        img: Restored, (H, W, 3), RGB, float in [0, 1]; or BGR, uint8.
        img2: Target, the same shape and type.
        net: ``alex``, which the authors advise for measuring, or ``vgg``.
        device: Where the network runs.
        **kwargs: Not looked at: BasicSR hands over all that stands in the options.

    Raises:
        OptionsError: Another network, no extra ``metrics``, or weights that cannot be had.
        ValueError: Images of other types, of different sizes, or too small for the network.
    """
    return perceptual.lpips(_as_tensor(img, device), _as_tensor(img2, device), net)


@METRIC_REGISTRY.register(suffix='basicsr')
@described(takes_device=True, lower_is_better=True, prepare=_prepare_dists)
def calculate_dists(
    img: ByteArray, img2: ByteArray, crop_border: int = 0, device: torch.device = CPU, **kwargs: Any
) -> float:
    """Take DISTS; lower is better.

    Args:
        img: Restored, as for :func:`calculate_lpips`; ``img2`` and errors alike.
        img2: Target.
        crop_border: Pixels left out at each side.
        device: Where the network runs.
        **kwargs: Not looked at: BasicSR hands over all that stands in the options.
    """
    return perceptual.dists(_inner(img, crop_border, device), _inner(img2, crop_border, device))


def _as_tensor(image: ImageArray, device: torch.device) -> Tensor:
    """Give (1, 3, H, W), RGB, float32 in [0, 1]."""
    if image.dtype == np.uint8:
        return to_rgb(image, device).float() / 255
    if image.dtype.kind != 'f' or image.ndim != 3 or image.shape[2] != 3:
        expected = 'expected an image of 8 bits, BGR, or of floats, RGB in [0, 1]'
        raise ValueError(f'{expected}, got {image.shape} {image.dtype}')
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None].to(device)


def _inner(image: ByteArray, border: int, device: torch.device) -> Tensor:
    """Give what is left inside of a border, (1, 3, H, W), RGB, float32 in [0, 1]."""
    height, width = (max(side - 2 * border, 0) for side in image.shape[:2])
    return to_rgb(image[border : border + height, border : border + width], device).float() / 255
