"""Features of torchvision's VGG16 and VGG19 (Simonyan and Zisserman, ICLR 2015), by which losses compare images."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.encoders.weight_files import weight_file

VGG = Literal['vgg16', 'vgg19']
# convolutions of each block; a pooling lies between two blocks
BLOCKS = {'vgg16': (2, 2, 3, 3, 3), 'vgg19': (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)
URLS = {
    'vgg16': 'https://download.pytorch.org/models/vgg16-397923af.pth',
    'vgg19': 'https://download.pytorch.org/models/vgg19-dcbb9e9d.pth',
}
RANDOM_WEIGHTS_SEED = 0


class VGGFeatures(nn.Module):
    """Give features of images, with weights that never learn.

    The weights are buffers outside of the state dict: they move with a loss and appear in no checkpoint or optimizer.

    Args:
        net: Which network.
        layers: What is given, of ``relu1_1`` (first convolution of the first block, after its ReLU) to ``relu5_3``
            (VGG16) or ``relu5_4`` (VGG19), in this order.
        weights: ``auto`` (torchvision's, trained on ImageNet, downloaded into torch's cache), ``random`` (from a fixed
            seed, with a warning), or the path of a file with torchvision's names; the widths are the file's.

    Raises:
        OptionsError: A layer that there is not (path ``layers``), weights that cannot be had or are of another network
            (path ``weights``).
    """

    relu1_1_weight: Tensor

    def __init__(self, net: VGG, layers: Sequence[str], weights: str = 'auto') -> None:
        super().__init__()
        places = convolutions(net)
        if not layers:
            raise OptionsError('layers', 'expected at least one layer, got none')
        for layer in layers:
            if layer not in places:
                raise OptionsError('layers', f"there is no '{layer}' in {net}", nearest(str(layer), places))
        self.layers = tuple(layers)
        names = list(places)
        self._needed = names[: max(map(names.index, self.layers)) + 1]
        state = _state(net, weights if weights in ('auto', 'random') else os.path.realpath(os.path.expanduser(weights)))
        for name, (weight, bias) in zip(self._needed, _chain(state, net, self._needed)):
            self.register_buffer(f'{name}_weight', weight, persistent=False)
            self.register_buffer(f'{name}_bias', bias, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute.

        Args:
            image: (B, 3, H, W), RGB, as the network is to see it. A side has at least 1 pixel after each pooling.

        Returns:
            A feature (B, C, h, w) for each of ``layers``.
        """
        found = {}
        x = image.to(self.relu1_1_weight.dtype)
        for name in self._needed:
            if name.endswith('_1') and name != 'relu1_1':
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f'{name}_weight'), getattr(self, f'{name}_bias'), padding=1))
            found[name] = x
        return tuple(found[layer] for layer in self.layers)


def convolutions(net: VGG) -> dict[str, int]:
    """Give each layer's number in torchvision's ``features``, in the order of the network: ``relu1_1`` to 0."""
    places, number = {}, 0
    for block, count in enumerate(BLOCKS[net], start=1):
        for place in range(1, count + 1):
            places[f'relu{block}_{place}'] = number
            number += 2  # a convolution and its ReLU
        number += 1  # the pooling
    return places


@lru_cache(maxsize=2)
def _state(net: VGG, weights: str) -> Mapping[str, Tensor]:
    """Read the weights of all convolutions, once for the trial of the options and the run."""
    if weights == 'random':
        warnings.warn(f'A loss has a {net} with random weights: good for trying things out only.', stacklevel=2)
        return _random(net)
    file = weight_file(URLS[net], 'weights', None if weights == 'auto' else weights)
    content: Any = torch.load(file, map_location='cpu', weights_only=True)
    content = content.get('state_dict', content) if isinstance(content, dict) else {}
    return {key: value for key, value in content.items() if key.startswith('features.')}


def _random(net: VGG) -> dict[str, Tensor]:
    """Draw weights as He et al. (arXiv 1502.01852) do, by which features neither grow nor fade; biases are zero."""
    generator = torch.Generator().manual_seed(RANDOM_WEIGHTS_SEED)
    state, before = {}, 3
    for name, number in convolutions(net).items():
        width = WIDTHS[int(name[4]) - 1]
        weight = torch.randn(width, before, 3, 3, generator=generator) * math.sqrt(2 / (9 * before))
        state.update({f'features.{number}.weight': weight, f'features.{number}.bias': torch.zeros(width)})
        before = width
    return state


def _chain(state: Mapping[str, Tensor], net: VGG, needed: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
    """Give weight and bias of each convolution that is needed, or say why the file is of another network."""
    places = convolutions(net)
    known = {f'features.{number}.{kind}' for number in places.values() for kind in ('weight', 'bias')}
    problem = f'the file does not hold the weights of {net}'
    remedy = f'Give a file with the names of torchvision, such as {URLS[net]}'
    for key in state:
        if key not in known:
            raise OptionsError('weights', f"{problem}: it has '{key}'", remedy)
    pairs, before = [], 3
    for name in needed:
        keys = [f'features.{places[name]}.{kind}' for kind in ('weight', 'bias')]
        if any(key not in state for key in keys):
            raise OptionsError('weights', f"{problem}: it lacks '{keys[0]}' or its bias", remedy)
        weight, bias = (state[key] for key in keys)
        if weight.shape != (len(bias), before, 3, 3):
            raise OptionsError('weights', f"{problem}: '{keys[0]}' has the shape {tuple(weight.shape)}", remedy)
        pairs.append((weight, bias))
        before = len(bias)
    return pairs
