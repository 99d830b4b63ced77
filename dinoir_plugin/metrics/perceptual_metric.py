"""LPIPS and DISTS: how different two images look, by the features of a network trained on ImageNet.

Both take what an image file holds, 8 bits, as do the authors' own programs, BasicSR's script for LPIPS and all that
measures folders of results; papers that take the network's floats find slightly other figures. Both look at the whole
image at its own size, as torchmetrics and pyiqa do. The authors of DISTS shrink it first, the shorter side to 256
pixels: figures of the two must not be mixed.

The networks are those of torchmetrics (extra ``metrics``), which carries the authors' weights on top of torchvision's
AlexNet and VGG16. Torchvision's are downloaded when first asked for, into torch's cache
(``~/.cache/torch/hub/checkpoints``, or below ``$TORCH_HOME``).
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import torch
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.metrics.pretrained import CPU, ByteArray, built, from_extra, to_rgb, weight_file

# name of the network in LPIPS: torchvision's weights, and the shortest side that its poolings leave anything of
TRUNKS = {'alex': ('AlexNet_Weights', 31), 'vgg': ('VGG16_Weights', 16)}


@METRIC_REGISTRY.register()
def calculate_lpips(
    img: ByteArray, img2: ByteArray, net: str = 'alex', crop_border: int = 0, device: torch.device = CPU
) -> float:
    """LPIPS (Zhang et al., CVPR 2018), version 0.1; lower is better.

    Args:
        img: Restored, (H, W, 3), BGR, uint8.
        img2: Target, the same shape and range.
        net: ``alex``, which the authors advise for measuring, or ``vgg``.
        crop_border: Pixels left out at each side.
        device: Where the network runs.

    Raises:
        OptionsError: Another network, no extra ``metrics``, or weights that cannot be had.
        ValueError: Images of other types, of different sizes, or too small for the network.
    """
    network = lpips_network(net, device)
    restored, target = _pair(img, img2, crop_border, TRUNKS[net][1], device)
    with torch.no_grad():
        return float(network(restored, target, normalize=True))


@METRIC_REGISTRY.register()
def calculate_dists(img: ByteArray, img2: ByteArray, crop_border: int = 0, device: torch.device = CPU) -> float:
    """DISTS (Ding et al., TPAMI 2020), with VGG16; lower is better. Arguments and errors as `calculate_lpips`."""
    network = dists_network(device)
    restored, target = _pair(img, img2, crop_border, 1, device)
    with torch.no_grad():
        return max(0.0, float(network(restored, target)))  # rounding takes equal images below zero


@cache
def lpips_network(net: str, device: torch.device = CPU) -> nn.Module:
    """The network of LPIPS, one in a process for each device; errors as `calculate_lpips`."""
    if net not in TRUNKS:
        raise OptionsError('net', f'there is no LPIPS of {net!r}', nearest(str(net), TRUNKS))
    if device != CPU:
        return deepcopy(lpips_network(net)).to(device)
    lpip = from_extra('torchmetrics.image.lpip')
    file = weight_file(_url(net), 'type')
    return built(lambda: lpip.LearnedPerceptualImagePatchSimilarity(net_type=net).net, file, 'type')


@cache
def dists_network(device: torch.device = CPU) -> nn.Module:
    """The network of DISTS, one in a process for each device; errors as `calculate_lpips`."""
    if device != CPU:
        return deepcopy(dists_network()).to(device)
    dists = from_extra('torchmetrics.functional.image.dists')
    return built(dists.DISTSNetwork, weight_file(_url('vgg'), 'type'), 'type')


def _prepare_lpips(net: str = 'alex', **others: Any) -> None:
    lpips_network(net)


def _prepare_dists(**others: Any) -> None:
    dists_network()


for _metric, _prepare in ((calculate_lpips, _prepare_lpips), (calculate_dists, _prepare_dists)):
    _metric.prepare = _prepare
    _metric.takes_device = True
    _metric.lower_is_better = True


def _url(net: str) -> str:
    import torchvision

    return str(getattr(torchvision.models, TRUNKS[net][0]).DEFAULT.url)


def _pair(
    img: ByteArray, img2: ByteArray, crop_border: int, smallest: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Both images, (1, 3, H, W), RGB, float32 in [0, 1]."""
    if img.shape != img2.shape:
        raise ValueError(f'expected two images of one size, got {img.shape} and {img2.shape}')
    height, width = (side - 2 * crop_border for side in img.shape[:2])
    if min(height, width) < smallest:
        cropped = f' after crop_border: {crop_border}' if crop_border else ''
        raise ValueError(f'expected sides of at least {smallest} pixels, got {height}x{width}{cropped}')
    window = (slice(crop_border, crop_border + height), slice(crop_border, crop_border + width))
    restored, target = (to_rgb(image[window], device).float() / 255 for image in (img, img2))
    return restored, target
