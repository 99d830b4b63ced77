"""A restoration network guided by a method: built parts come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs, as_outputs
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.encoders.frozen import Frozen, FrozenEncoder
from dinoir_plugin.guidance.attach import CHILD, attach_all, conditioned, places_to_guide
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.method import Encodings, GuidanceMethod, ReadFeatures
from dinoir_plugin.inference.graphs import Calls, directly
from dinoir_plugin.inference.padding import pad_for, size_rule

METHOD, BACKBONE = 'method', 'backbone'


class GuidedArch(nn.Module):
    """Guide a backbone by a method, by one of two doors or both.

    - ``guide_at`` names submodules of any network; the method's injectors are attached to their outputs.
    - A backbone with ``takes_condition = True`` is called with ``condition=`` and uses it by itself.

    In the state dict the backbone's parameters stand under ``backbone``, and those of the method under their own
    names beside it. ``net.backbone.load_state_dict(official, strict=False)`` loads released weights.

    Args:
        backbone: From (B, 3, H, W) to an image of the same size or a multiple of it, or to Outputs.
        method: What looks at the degraded image.
        guide_at: Submodules of the backbone whose outputs are guided; patterns such as ``decoder_level*`` allowed.

    Attributes:
        takes_condition: Whether the backbone uses the condition by itself.
        guided: The names of the guided submodules, in the order of the network.
        size_multiple: The divisor of the sides that the backbone takes, in pixels; other sizes are padded here.
        size_minimum: The shortest side that it takes.
        pad_mode: How they are padded.
        takes_items: Keys of an item of the training set that :meth:`forward` takes by name: those of the backbone.
        capturable: Whether a CUDA graph may repeat a training step: these are tensors, and the host keeps nothing.

    Raises:
        OptionsError: ``guide_at`` does not fit the backbone, or nothing would use the condition.
    """

    # a derived class that hands the condition to its backbone in another way says so
    takes_condition: bool = False

    def __init__(self, backbone: nn.Module, method: GuidanceMethod, guide_at: Sequence[str] = ()) -> None:
        super().__init__()
        if any(name == BACKBONE for name, _ in method.named_children()):
            raise ValueError(f"expected a method without a child '{BACKBONE}': in the state dict it stands beside it")
        self.backbone = backbone
        self.method = method
        self.takes_condition = self.takes_condition or getattr(backbone, 'takes_condition', False)
        self.takes_items: tuple[str, ...] = tuple(getattr(backbone, 'takes_items', ()))
        self.capturable = is_capturable(backbone)
        rule = size_rule(backbone)
        self.size_multiple, self.size_minimum, self.pad_mode = rule
        self.guided: list[str] = []
        if guide_at or not self.takes_condition:
            self.guided = attach_all(backbone, method.injectors(places_to_guide(backbone, guide_at)))
        self.register_state_dict_post_hook(_without_method)
        self.register_load_state_dict_pre_hook(_with_method)

    def encoders(self) -> Mapping[str, Frozen[Any]]:
        """Give the method's frozen encoders by their option's key in ``network_g``."""
        return self.method.encoders()

    @property
    def of_one_size(self) -> bool:
        """Tell whether the encoders see all images in one size, so that large ones cost no more."""
        return all(encoder.of_one_size for encoder in self.encoders().values())

    def encode(self, image: Tensor, read: ReadFeatures | None = None) -> Encodings:
        """Run the method's frozen part, for :meth:`forward`.

        Args:
            image: Degraded, (B, 3, H, W), RGB in [0, 1]; padded as for the backbone, so that both see one image.
            read: See :meth:`GuidanceMethod.encode`.
        """
        with torch.no_grad():
            return self.method.encode(self.padded(image), read)

    def condition(self, lq: Tensor, encodings: Encodings | None = None) -> Condition:
        """Tell what guides the backbone; arguments as :meth:`forward`."""
        found: Condition = self.method(self.encode(lq) if encodings is None else encodings)
        return found

    def forward(self, lq: Tensor, encodings: Encodings | None = None, **others: Any) -> Tensor | Outputs:
        """Restore.

        Args:
            lq: Degraded, (B, 3, H, W), RGB in [0, 1], any size.
            encodings: What :meth:`encode` gave for ``lq``, where the caller has it already.
            **others: For the backbone (the time of a diffusion network).

        Returns:
            Restored, (B, 3, H, W), RGB, not clipped; Outputs where the backbone gives several. A backbone that
            enlarges gives its scale times H and W.
        """
        return self.restored(lq, self.condition(lq, encodings), **others)

    def restored(self, lq: Tensor, condition: Condition, **others: Any) -> Tensor | Outputs:
        """Restore by what :meth:`condition` gave for ``lq``; otherwise as :meth:`forward`."""
        image = self.padded(lq)
        given = self._guided(image, condition, **others)
        scale = as_outputs(given).image.shape[-1] // image.shape[-1]
        place = (..., slice(lq.shape[-2] * scale), slice(lq.shape[-1] * scale))
        return given[place] if isinstance(given, Tensor) else as_outputs(given).map(lambda x: x[place])

    def by_tile(self, image: Tensor, call: Calls = directly) -> Callable[..., Any]:
        """Look at a whole image once, to restore tiles of it.

        Args:
            image: (B, 3, H, W), RGB in [0, 1], as :meth:`padded` gives it.
            call: Calls the network's parts.

        Returns:
            A function of where a tile lies, the tile (B, 3, h, w) and what else the backbone takes; it gives what the
            backbone gives, guided by the tile's share of what was found in the image. The borders of tiles are
            multiples of ``size_multiple``.
        """
        condition: Condition = call(self.condition, image)

        def restore(place: Tile, part: Tensor, **others: Any) -> Any:
            return call(self._guided, part, condition.crop(place), **others)

        return restore

    def padded(self, image: Tensor) -> Tensor:
        """Give ``image`` as the backbone sees it: padded at the right and bottom as the backbone's size rule says."""
        return pad_for(self.backbone, image)

    def scalars(self) -> dict[str, Tensor]:
        """Give the method's numbers of the last forward, for the log."""
        return self.method.scalars()

    def explain_misfit(self, state: Mapping[str, Tensor]) -> str:
        """Say why weights of an earlier version do not fit; see :meth:`GuidanceMethod.explain_misfit`."""
        return self.method.explain_misfit(state)

    def released_names(self) -> dict[str, str]:
        """Give the names of the backbone's own parameters and buffers, as released weights have them, to ours."""
        below = f'{BACKBONE}.'
        names = [name for name in self.state_dict() if name.startswith(below) and f'.{CHILD}.' not in name]
        return {name.removeprefix(below): name for name in names}

    def _guided(self, image: Tensor, condition: Condition, **others: Any) -> Any:
        if self.takes_condition:
            others['condition'] = condition
        if not self.guided:
            return self.backbone(image, **others)
        with conditioned(self.backbone, condition):
            return self.backbone(image, **others)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GuidedArch:
        """Take the encoders along where ``.to()``, ``.cuda()`` and the like go, though they are no submodules."""
        super()._apply(fn, recurse)
        for encoder in self.encoders().values():
            encoder.follow(fn)
        return self


def backbone_of(network: nn.Module) -> nn.Module:
    """Give the network whose submodules options name: a guided network's backbone, or the network itself."""
    return network.backbone if isinstance(network, GuidedArch) else network


def is_capturable(network: nn.Module) -> bool:
    """Tell whether a CUDA graph may repeat a network's training step: as it says, otherwise where it takes no items."""
    return bool(getattr(network, 'capturable', not getattr(network, 'takes_items', ())))


def encoders_of(network: nn.Module) -> Mapping[str, Frozen[Any]]:
    """Give a network's frozen encoders by name; none for a network that is not guided."""
    return network.encoders() if isinstance(network, GuidedArch) else {}


def sole_encoder(network: nn.Module, option: str) -> FrozenEncoder:
    """Give the one encoder of a guided network, for losses that share it.

    Raises:
        OptionsError: There is none, or more than one; its path is ``option``.
    """
    found = {name: held for name, held in encoders_of(network).items() if isinstance(held, FrozenEncoder)}
    if len(found) != 1:
        guided = 'is guided by another kind' if encoders_of(network) else 'is not guided'
        has = f'{len(found)}: {", ".join(found)}' if found else f'none: {type(network).__name__} {guided}'
        raise OptionsError(option, f'the loss needs an encoder, and network_g has {has}', 'Give it, e.g. encoder: '
                           '{name: vit_base_patch14_dinov2, weights: auto}, or use a guided network')
    return next(iter(found.values()))


def _moved(state: dict[str, Any], prefix: str, old: str, new: str, chosen: Callable[[str], bool]) -> None:
    """Rename the keys ``<prefix><old>...`` that are chosen to ``<prefix><new>...``, each in its place."""
    items: Iterator[tuple[str, Any]] = iter(list(state.items()))
    state.clear()
    for key, value in items:
        below = key.removeprefix(prefix + old)
        moves = key.startswith(prefix + old) and chosen(below)
        state[f'{prefix}{new}{below}' if moves else key] = value


def _without_method(net: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    _moved(state, prefix, f'{METHOD}.', '', lambda below: True)


def _with_method(net: GuidedArch, state: dict[str, Any], prefix: str, *others: Any) -> None:
    why = net.explain_misfit({key.removeprefix(prefix): value for key, value in state.items()})
    if why:
        raise ValueError(f'{type(net).__name__} cannot take these weights: the file {why}')
    _moved(state, prefix, '', f'{METHOD}.', lambda below: not below.startswith((f'{BACKBONE}.', f'{METHOD}.')))
