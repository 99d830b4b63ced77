"""Attach guidance to named submodules of any network, which keeps its own forward and its own parameter names."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.inference.padding import size_multiple

CHILD = 'guidance'
PROBE_SIDE = 64


class Guidance(nn.Module):
    """Sit in the guided module as its child ``guidance``, and apply an injector to that module's output.

    Args:
        fusion: The injector; the name is that of its parameters in checkpoints.
    """

    condition: Condition | None

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.fusion = fusion
        self.condition = None

    def forward(self, feature: Tensor) -> Tensor:
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
        OptionsError: No name, one that no submodule has, or a submodule whose output is no (B, C, H, W) tensor.
    """
    if not guide_at:
        raise OptionsError('guide_at', 'expected names of modules, got none', 'A baseline is the backbone itself')
    names = resolve_names(network, guide_at, 'guide_at')
    widths = _probe_widths(network, names)
    for name in names:
        module = network.get_submodule(name)
        module.add_module(CHILD, Guidance(make_injector(widths[name])))
        if not _is_plain_sequential(module):
            module.register_forward_hook(_apply_guidance)
    return names


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
    return module.get_submodule(CHILD)(output)


def _is_plain_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _probe_widths(network: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Find the width of each named module's output by one forward of a copy on the meta device (shapes, no numbers)."""
    twin = copy.deepcopy(network).to('meta').eval()
    multiple = size_multiple(network)
    side = -(-PROBE_SIDE // multiple) * multiple
    shapes: dict[str, object] = {}
    for name in names:
        twin.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: getattr(output, 'shape', type(output))})
        )
    try:
        # tensors that the network makes itself, too, are made there
        with torch.no_grad(), torch.device('meta'):
            twin(torch.empty(1, 3, side, side, device='meta'))
    # a foreign network may raise anything; whatever it is, it cannot be guided
    except Exception as error:
        problem = f'{type(network).__name__} does not take a trial input of shape (1, 3, {side}, {side})'
        raise OptionsError('backbone', f'{problem} ({type(error).__name__}: {error})') from error
    for name in names:
        shape = shapes.get(name, 'nothing: it is not called')
        # a feature of parts of the image, stacked along the batch, belongs to other places than the condition says
        if not isinstance(shape, torch.Size) or len(shape) != 4 or shape[0] != 1:
            shown = tuple(shape) if isinstance(shape, torch.Size) else shape
            raise OptionsError(
                'guide_at',
                f"guidance needs a module that gives a (B, C, H, W) feature, but '{name}' gives {shown} for one image",
                'Choose another module of the backbone',
            )
    return {name: shapes[name][1] for name in names}  # type: ignore[index]
