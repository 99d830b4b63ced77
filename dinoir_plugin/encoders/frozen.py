"""An encoder that guides and judges but never learns: one copy in a process, out of reach of the trainer."""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.encoder import Encoder
from dinoir_plugin.encoders.names import timm_name
from dinoir_plugin.encoders.weights import NAMED, fingerprint
from dinoir_plugin.nn.precision import full_type, no_autocast

Net = TypeVar('Net', bound=nn.Module)


class Frozen(Generic[Net]):
    """Hold a network without being a module.

    A module that keeps one of these as an attribute does not own the network's parameters: they are in no state
    dict, optimizer, EMA copy or DDP bucket, and ``train()`` does not reach them. A deep copy is the same object.
    :func:`shared` gives everyone in the process who asks for the same network the same object.

    Args:
        net: The network, in eval mode, whose parameters need no gradient.
        name: Its name in messages.
        weights: Where they come from, as in the options.
        state: The weights that tell it from others.

    Attributes:
        fingerprint: Tells the weights apart from others; see :func:`~dinoir_plugin.encoders.weights.fingerprint`.
        of_one_size: Whether the network sees all images in one size, so that large ones cost no more.
    """

    of_one_size: ClassVar[bool] = False

    def __init__(self, net: Net, name: str, weights: str, state: Mapping[str, Tensor]) -> None:
        self.name = name
        self.weights = weights
        self.fingerprint = fingerprint(state)
        self._net = net
        self._elsewhere: dict[torch.device, Net] = {}

    def taken_side(self, side: int) -> int:
        """Give the side that an image is resized to, in pixels."""
        return side

    def follow(self, move: Callable[[Tensor], Tensor]) -> None:
        """Go to the device where an owner's ``_apply(move)`` takes its tensors; a change of type alone moves nothing.

        The meta device, which keeps no numbers, is passed over.
        """
        device = move(torch.empty(0, device=self._home)).device
        if device.type != 'meta' and device != self._home:
            self._elsewhere.clear()
            self._net.to(device)

    @property
    def _home(self) -> torch.device:
        return next(self._net.parameters()).device

    def _on(self, device: torch.device) -> Net:
        """Give the network on a device: its own, or a copy that is kept there (replicas of DataParallel)."""
        if device == self._home:
            return self._net
        if device not in self._elsewhere:
            self._elsewhere[device] = copy.deepcopy(self._net).to(device)
        return self._elsewhere[device]

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen[Net]:
        return self


class FrozenEncoder(Frozen[Encoder]):
    """Hold an :class:`Encoder`; made by :func:`frozen_encoder`. A pickle holds how to build it."""

    def __init__(self, name: str, weights: str, model_args: Mapping[str, Any]) -> None:
        net = Encoder(name, weights, layers=(0,), model_args=model_args)
        super().__init__(net, name, weights, net.model.state_dict())
        self.model_args = dict(model_args)
        _join_scales(self._net.model)

    @property
    def widths(self) -> tuple[int, ...]:
        """Give the width of each layer's features."""
        return self._net.widths

    def check_layers(self, layers: Sequence[int], path: str = 'layers') -> tuple[int, ...]:
        """Give ``layers`` as a tuple, or raise an OptionsError that says the valid range."""
        return self._net.check_layers(layers, path)

    def taken_side(self, side: int) -> int:
        """Give the side that an image is resized to, in pixels."""
        return self._net.taken_side(side)

    def __call__(self, image: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Encode; gradients flow to ``image``, never to the encoder.

        Args:
            image: (B, 3, H, W), RGB in [0, 1], on any device: where it is not the encoder's own (replicas of
                DataParallel), a copy is kept there.
            layers: Indices of blocks or stages, from zero.

        Returns:
            Index to feature map (B, its width, h, w), computed in the encoder's own type, float32, whatever autocast
            says: features differ by factors of thousands between channels, and losses take small differences of them.
            In the type of ``image``, for one in half precision in float32.
        """
        net = self._on(image.device)
        with no_autocast(image):
            features = net(image.to(net.mean.dtype), layers)
        return {layer: feature.to(full_type(image)) for layer, feature in features.items()}

    def class_tokens(self, image: Tensor, layers: Sequence[int], offset: bool = True) -> dict[int, Tensor]:
        """Apply :meth:`Encoder.class_tokens` on any device, in the encoder's own type, as when called."""
        net = self._on(image.device)
        with no_autocast(image):
            tokens = net.class_tokens(image.to(net.mean.dtype), layers, offset)
        return {layer: token.to(full_type(image)) for layer, token in tokens.items()}

    def check_class_token(self) -> None:
        """Raise an OptionsError, of the path ``name``, where there is no class token."""
        if not self._net.has_class_token:
            raise OptionsError('name', f"'{self.name}' has no class token", 'Use a transformer that has one')

    def normalised(self, feature: Tensor) -> Tensor:
        """Apply :meth:`Encoder.normalised` on any device, in the encoder's own type; the type stays."""
        net = self._on(feature.device)
        with no_autocast(feature):
            return net.normalised(feature.to(net.mean.dtype)).to(feature.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return frozen_encoder, (self.name, self.weights, self.model_args)


def _join_scales(model: Any) -> None:
    """Let a transformer's blocks scale a branch and add it in one operation; names and weights stay."""
    for block in getattr(model, 'blocks', ()):
        scales = [getattr(getattr(block, name, None), 'gamma', None) for name in ('ls1', 'ls2')]
        if type(block).__name__ == 'Block' and all(isinstance(scale, Tensor) for scale in scales):
            # partial keeps it picklable, and deep copies of it consistent
            block.forward = functools.partial(_scaled_block, block)


def _scaled_block(block: Any, x: Tensor, *others: Any, **named: Any) -> Tensor:
    if others or any(value is not None and value is not False for value in named.values()):
        plain: Tensor = type(block).forward(block, x, *others, **named)
        return plain
    x = torch.addcmul(x, block.attn(block.norm1(x)), block.ls1.gamma)
    return torch.addcmul(x, block.mlp(block.norm2(x)), block.ls2.gamma)


_POOL: WeakValueDictionary[str, Frozen[Any]] = WeakValueDictionary()
# keeps the last one of each kind alive between the trial build of the options check and the real one
_latest: dict[str, Frozen[Any]] = {}
Held = TypeVar('Held', bound=Frozen[Any])


def shared(make: Callable[..., Held], name: str, weights: str, *others: Any) -> Held:
    """Give the process's one network that ``make(name, weights, *others)`` makes, built when first asked for.

    Args:
        make: A subclass of :class:`Frozen`.
        name: Of the network.
        weights: One of :data:`~dinoir_plugin.encoders.weights.NAMED`, or a file's path.
        *others: What else tells one from another: mappings, lists, numbers and text.
    """
    source = weights if weights in NAMED else os.path.realpath(os.path.expanduser(weights))
    key = json.dumps([make.__name__, name, source, *others], sort_keys=True, default=repr)
    found: Any = _POOL.get(key)
    if found is None:
        found = _POOL[key] = make(name, weights, *others)
    _latest[make.__name__] = found
    held: Held = found
    return held


def frozen_encoder(name: str, weights: str = 'auto', model_args: Mapping[str, Any] | None = None) -> FrozenEncoder:
    """Give the process's one frozen encoder with these options, built when first asked for.

    Args:
        name: timm's name of the model, such as ``vit_base_patch14_dinov2``, or torch.hub's of DINOv2.
        weights: ``auto`` (timm's download), ``installed`` (a package's), ``random`` (for trials) or a file's path.
        model_args: Arguments for timm, such as a tiny model's ``{depth: 4, embed_dim: 96}``.

    Raises:
        OptionsError: As :class:`Encoder`.
    """
    return shared(FrozenEncoder, timm_name(name), weights, dict(model_args or {}))
