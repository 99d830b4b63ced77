"""LPIPS and DISTS: how different two images look, by the features of a network trained on ImageNet.

Both are registered for what an image file holds, 8 bits, as the authors' own programs, BasicSR's script for LPIPS and
all that measures folders of results take it; LPIPS also for floats, as papers take it that find slightly other figures.
Both look at the whole image at its own size, as torchmetrics and pyiqa do. The authors of DISTS shrink it first, the
shorter side to 256 pixels: figures of the two must not be mixed.

The networks are those of torchmetrics (extra ``metrics``), which carries the authors' weights on top of torchvision's
AlexNet and VGG16. Torchvision's are downloaded when first asked for, into torch's cache
(``~/.cache/torch/hub/checkpoints``, or below ``$TORCH_HOME``).
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.encoders.weight_files import weight_file
from dinoir_plugin.metrics.pretrained import CPU, built, from_extra

# name of the network in LPIPS: torchvision's weights, and the shortest side that its poolings leave anything of
TRUNKS = {'alex': ('AlexNet_Weights', 31), 'vgg': ('VGG16_Weights', 16)}


def lpips(restored: Tensor, target: Tensor, net: str = 'alex') -> float:
    """Take LPIPS (Zhang et al., CVPR 2018), version 0.1; lower is better.

    Args:
        restored: (1, 3, H, W), RGB in [0, 1]; the network runs where it is.
        target: The same shape and range.
        net: ``alex``, which the authors advise for measuring, or ``vgg``.

    Raises:
        OptionsError: Another network, no extra ``metrics``, or weights that cannot be had.
        ValueError: Images of different sizes, or too small for the network.
    """
    network = lpips_network(net, restored.device)
    _check(restored, target, TRUNKS[net][1])
    with torch.no_grad():
        return float(network(restored, target, normalize=True))


def dists(restored: Tensor, target: Tensor) -> float:
    """Take DISTS (Ding et al., TPAMI 2020), with VGG16; lower is better. Arguments and errors as :func:`lpips`."""
    network = dists_network(restored.device)
    _check(restored, target, 1)
    with torch.no_grad():
        return max(0.0, float(network(restored, target)))  # rounding takes equal images below zero


@cache
def lpips_network(net: str, device: torch.device = CPU) -> nn.Module:
    """Give the network of LPIPS, one in a process for each device; errors as :func:`lpips`."""
    if net not in TRUNKS:
        raise OptionsError('net', f'there is no LPIPS of {net!r}', nearest(str(net), TRUNKS))
    if device != CPU:
        return deepcopy(lpips_network(net)).to(device)
    lpip = from_extra('torchmetrics.image.lpip')
    file = weight_file(_url(net), 'type')
    return built(lambda: lpip.LearnedPerceptualImagePatchSimilarity(net_type=net).net, file, 'type')


@cache
def dists_network(device: torch.device = CPU) -> nn.Module:
    """Give the network of DISTS, one in a process for each device; errors as :func:`lpips`."""
    if device != CPU:
        return deepcopy(dists_network()).to(device)
    dists = from_extra('torchmetrics.functional.image.dists')
    return built(dists.DISTSNetwork, weight_file(_url('vgg'), 'type'), 'type')


def _url(net: str) -> str:
    import torchvision

    return str(getattr(torchvision.models, TRUNKS[net][0]).DEFAULT.url)


def _check(restored: Tensor, target: Tensor, smallest: int) -> None:
    sizes = [size_text(image.shape[-2:]) for image in (restored, target)]
    if sizes[0] != sizes[1]:
        raise ValueError(f'expected two images of one size, got {sizes[0]} and {sizes[1]}')
    if min(target.shape[-2:]) < smallest:
        raise ValueError(f'expected sides of at least {smallest} pixels, got {sizes[0]}')
