"""Attach guidance to named submodules of any network, which keeps its own forward and its own parameter names."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.places import Feature, instead_of, probe

CHILD = 'guidance'


class Guidance(nn.Module):
    """Sit in the guided module as its child ``guidance``, and apply an injector to that module's output.

    Args:
        fusion: The injector; the name is that of its parameters in checkpoints.
        in_turn: Whether the guided module calls it as the last of its children. Where a hook calls it, a module that
            runs through its children in a forward of its own gets the feature back as it is.
    """

    condition: Condition | None

    def __init__(self, fusion: nn.Module, in_turn: bool) -> None:
        super().__init__()
        self.fusion = fusion
        self.in_turn = in_turn
        self.condition = None

    def forward(self, feature: Tensor, *others: object) -> Tensor:
        """Guide ``feature`` where this is called in turn; ``others`` is what a module hands to all its children."""
        return self.guided(feature) if self.in_turn else feature

    def guided(self, feature: Tensor) -> Tensor:
        """Guide ``feature``, (B, C, H, W), by the condition that :func:`conditioned` has set."""
        if self.condition is None:
            raise RuntimeError('This network is guided: call it through the guided network that holds it.')
        guided: Tensor = self.fusion(feature, self.condition)
        return guided


def attach(network: nn.Module, guide_at: Sequence[str], make_injector: Callable[[int], nn.Module]) -> list[str]:
    """Guide the outputs of submodules of ``network``, in place.

    A plain ``nn.Sequential`` runs its children in turn, so there the new child is simply the last layer; any other
    module gets a forward hook. The hook is a function of this file that finds the child through the module it is
    called with, so deep copies, pickles and the replicas of DataParallel each use their own child.

    Args:
        network: Takes (B, 3, H, W).
        guide_at: Names of submodules or patterns of them (``decoder_level*``), as ``named_modules`` gives them.
        make_injector: From the width of a feature to the injector for it.

    Returns:
        The names guided, in the order of the network.

    Raises:
        OptionsError: As :func:`places_to_guide`.
    """
    places = places_to_guide(network, guide_at)
    return attach_all(network, {name: make_injector(feature.channels) for name, feature in places.items()})


def places_to_guide(network: nn.Module, guide_at: Sequence[str]) -> dict[str, Feature]:
    """Find out what the named submodules give.

    Args:
        network: Takes (B, 3, H, W).
        guide_at: As :func:`attach` takes it.

    Returns:
        Name to feature, in the order of the network.

    Raises:
        OptionsError: No name, one that no submodule has, or a submodule whose output is no (B, C, H, W) tensor.
    """
    if not guide_at:
        raise OptionsError('guide_at', 'expected names of modules, got none', 'A baseline is the backbone itself')
    names = resolve_names(network, guide_at, 'guide_at')
    places = {}
    for name, feature in probe(network, names).items():
        if isinstance(feature, str):
            problem = f"guidance needs a module that gives a (B, C, H, W) feature, but '{name}' gives {feature}"
            raise OptionsError('guide_at', f'{problem} for one image', instead_of(network, name))
        places[name] = feature
    return places


def attach_all(network: nn.Module, injectors: Mapping[str, nn.Module]) -> list[str]:
    """Guide the outputs of submodules of ``network`` by an injector each, in place; see :func:`attach`.

    Args:
        network: Takes (B, 3, H, W).
        injectors: Name of a submodule to its injector, in the order of the network.

    Returns:
        The names guided.
    """
    for name, injector in injectors.items():
        module = network.get_submodule(name)
        in_turn = _is_plain_sequential(module)
        module.add_module(CHILD, Guidance(injector, in_turn))
        if not in_turn:
            module.register_forward_hook(_apply_guidance)
    return list(injectors)


@contextmanager
def conditioned(network: nn.Module, condition: Condition | None) -> Iterator[None]:
    """Have the injectors attached to ``network`` use a condition while open; then what they used before.

    Args:
        network: It or its submodules are guided.
        condition: Of the images that the network is called with.
    """
    places = [module for module in network.modules() if isinstance(module, Guidance)]
    before = [module.condition for module in places]
    for module in places:
        module.condition = condition
    try:
        yield
    finally:
        for module, earlier in zip(places, before):
            module.condition = earlier


def resolve_names(network: nn.Module, patterns: Sequence[str], option: str) -> list[str]:
    """Turn names and patterns of submodules into names, each once, in the order of the network.

    Raises:
        OptionsError: No list of names, or a name that no submodule has; its path is ``option``.
    """
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
        raise OptionsError(option, f'expected a list of module names, got {patterns!r}')
    names = [name for name, _ in network.named_modules() if name]
    chosen: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(names, pattern)
        # a star stands for a part of one name, not for a path: `decoder_level*` is not `decoder_level1.0.attn`
        matches = [name for name in matches if name.count('.') == pattern.count('.')]
        if not matches:
            top = [name for name in names if name.count('.') <= pattern.count('.')]
            problem = f"the backbone {type(network).__name__} has no module '{pattern}'"
            raise OptionsError(option, problem, nearest(pattern, top))
        chosen.update(matches)
    return [name for name in names if name in chosen]


def _apply_guidance(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    child: Any = module.get_submodule(CHILD)
    guided: Tensor = child.guided(output)
    return guided


_apply_guidance.capturable = True  # type: ignore[attr-defined]  # a CUDA graph may repeat what it does


def _is_plain_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
