"""Which submodules of a network can be guided: those that give a feature of the whole image."""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import nn

from dinoir_plugin.core.errors import SHOWN, OptionsError
from dinoir_plugin.inference.padding import size_multiple

PROBE_SIDE = 64
# the last part of a name that is a number
NUMBER = re.compile(r'(?<![^.])\d+(?![^.])(?!.*\.\d+(?![^.]))')
NOT_CALLED = 'nothing: it is not called'


class Feature(NamedTuple):
    """Hold what a submodule gives.

    Attributes:
        channels: Width of its output.
        scale: Height of its output over that of the image.
    """

    channels: int
    scale: Fraction


class Place(NamedTuple):
    """Hold submodules that give alike features.

    Attributes:
        pattern: The name of one, or the pattern of several, as ``guide_at`` takes it.
        modules: How many they are.
        feature: What each of them gives.
    """

    pattern: str
    modules: int
    feature: Feature


def probe(network: nn.Module, names: Iterable[str]) -> dict[str, Feature | str]:
    """Find out what submodules give, by one forward of a copy on the meta device (shapes, no numbers).

    Args:
        network: Takes (B, 3, H, W).
        names: Of submodules, as ``named_modules`` gives them.

    Returns:
        For each of them the feature, or in words what it gives that is no (B, C, H, W) feature.

    Raises:
        OptionsError: The network does not take images; its path is ``backbone``.
    """
    twin = copy.deepcopy(network).to('meta').eval()
    multiple = size_multiple(network)
    side = -(-PROBE_SIDE // multiple) * multiple
    given: dict[str, object] = {}
    for name in names:
        given[name] = NOT_CALLED
        twin.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: given.update({name: getattr(output, 'shape', type(output))})
        )
    try:
        # tensors that the network makes itself, too, are made there
        with torch.no_grad(), torch.device('meta'):
            twin(torch.empty(1, 3, side, side, device='meta'))
    # a foreign network may raise anything; whatever it is, it cannot be guided
    except Exception as error:
        problem = f'{type(network).__name__} does not take a trial input of shape (1, 3, {side}, {side})'
        raise OptionsError('backbone', f'{problem} ({type(error).__name__}: {error})') from error
    return {name: _feature(shape, side) for name, shape in given.items()}


def guidable(network: nn.Module) -> dict[str, Feature]:
    """Give the submodules whose output can be guided, in the order of the network; errors as :func:`probe`."""
    found = probe(network, [name for name, _ in network.named_modules() if name])
    return {name: feature for name, feature in found.items() if isinstance(feature, Feature)}


def outermost(names: Collection[str], levels: int = 1) -> list[str]:
    """Choose the names that have less than ``levels`` of the others around them."""
    known = set(names)
    return [name for name in names if sum(outer in known for outer in _around(name)) < levels]


def gathered(features: Mapping[str, Feature], network: nn.Module) -> list[Place]:
    """Gather submodules that give alike features and differ in their last number, where a pattern names them alone."""
    groups: dict[tuple[str, Feature], list[str]] = {}
    for name, feature in features.items():
        groups.setdefault((NUMBER.sub('*', name), feature), []).append(name)
    every = [name for name, _ in network.named_modules()]
    places: list[Place] = []
    for (pattern, feature), names in groups.items():
        matched = [name for name in fnmatch.filter(every, pattern) if name.count('.') == pattern.count('.')]
        if len(names) > 1 and matched == names:
            places.append(Place(pattern, len(names), feature))
        else:
            places += [Place(name, 1, feature) for name in names]
    return places


def instead_of(network: nn.Module, name: str) -> str:
    """Name submodules that can be guided in the place of one that cannot, those inside of it first."""
    features = guidable(network)
    inside = outermost([other for other in features if other.startswith(f'{name}.')])
    names = [*inside, *(other for other in outermost(features) if other not in inside)]
    if not names:
        return 'No module of this backbone can be guided'
    more = f' and {len(features) - SHOWN} more' if len(features) > SHOWN else ''
    return f'Those that do: {", ".join(names[:SHOWN])}{more}; the command `dinoir modules` lists all'


def _feature(shape: object, side: int) -> Feature | str:
    """Give the feature of that shape; one of parts of the image, stacked along the batch, is none of the whole.

    The image is a square: of two sides that differ one is the channels, which stand last.
    """
    if isinstance(shape, torch.Size) and len(shape) == 4 and shape[0] == 1 and shape[2] == shape[3]:
        return Feature(shape[1], Fraction(shape[2], side))
    return str(tuple(shape)) if isinstance(shape, torch.Size) else str(shape)


def _around(name: str) -> Iterable[str]:
    parts = name.split('.')
    return ('.'.join(parts[:count]) for count in range(1, len(parts)))
