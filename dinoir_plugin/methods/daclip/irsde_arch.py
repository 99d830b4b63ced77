"""IRSDEArch: a network that predicts the noise of IR-SDE, guided by a frozen DA-CLIP or by nothing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NoReturn

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.constraints import Holds
from dinoir_plugin.core.construct import build_registered, construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.guidance.method import Encodings, GuidanceMethod
from dinoir_plugin.methods.daclip.encoder import FrozenDACLIP, frozen_daclip
from dinoir_plugin.methods.daclip.irsde import IRSDE
from dinoir_plugin.methods.daclip.method import ENCODER, DACLIPGuidance

SDE = 'sde'
# arguments of the backbone that want an embedding
DEGRADATION, CONTENT = 'use_degra_context', 'use_image_context'
TAKES = ('xt', 'cond', 'time')


class Unguided(GuidanceMethod):
    """Look at nothing: for networks of a single degradation."""

    def forward(self, encodings: Encodings) -> Condition:
        """Say nothing."""
        return Condition()

    def injector(self, channels: int) -> NoReturn:
        """Refuse: nothing can be injected."""
        raise NotImplementedError('nothing guides this network')


@ARCH_REGISTRY.register()
class IRSDEArch(GuidedArch):
    """Predict the noise in an image on its way from the degraded to the clean one (IR-SDE).

    It is trained by ``SDEModel`` and restores by ``IRSDESampler``. Released weights of the backbone load into it.

    Args:
        backbone: ``type`` and its arguments: ConditionalUNet, ConditionalNAFNet, or a network of your own that is
            called with ``xt``, ``cond`` and ``time`` as these are.
        daclip: ``name``, ``weights``, ``views`` and ``model_args`` of the frozen DA-CLIP; left out where the backbone
            looks at none of its embeddings.
        sde: The diffusion: ``max_sigma``, ``T``, ``schedule`` and ``eps``.

    Attributes:
        sde: The diffusion.

    Raises:
        OptionsError: Backbone and DA-CLIP do not fit together.
    """

    takes_condition = True
    trained_by: ClassVar[str] = 'SDEModel'
    restored_by: ClassVar[Mapping[str, Any]] = {'type': 'IRSDESampler'}

    def __init__(
        self,
        backbone: Mapping[str, Any],
        daclip: Annotated[Mapping[str, Any] | None, Holds(frozen_daclip)] = None,
        sde: Annotated[Mapping[str, Any] | None, Holds(IRSDE)] = None,
    ) -> None:
        network = build_registered(ARCH_REGISTRY, backbone, 'backbone')
        _check_backbone(network)
        diffusion: IRSDE = construct(IRSDE, SDE, dict(sde or {}))
        wants = [option for option in (DEGRADATION, CONTENT) if getattr(network, option, False)]
        _check_wants(network, wants, daclip is not None)
        if daclip is None:
            super().__init__(network, Unguided())
        else:
            encoder: FrozenDACLIP = construct(frozen_daclip, ENCODER, daclip)
            if encoder.width != network.context_dim:
                problem = f"expected {encoder.width}, the width of the embeddings of '{encoder.name}'"
                raise OptionsError('backbone.context_dim', f'{problem}, got {network.context_dim}')
            super().__init__(network, DACLIPGuidance(encoder))
        self.sde = diffusion
        self._degradation, self._content = DEGRADATION in wants, CONTENT in wants
        # the backbone pads by itself, what it gets of a tile as well
        self.size_multiple, self.size_minimum, self.pad_mode = 1, 1, 'mirror'

    def padded(self, image: Tensor) -> Tensor:
        """Give ``image`` as it is: the backbone pads by itself, and DA-CLIP sees nothing of that."""
        return image

    def _guided(self, image: Tensor, condition: Condition, **others: Any) -> Tensor:
        """Call the backbone with the image at a time, ``state`` (B, 3, H, W) and ``time`` (a number, or (B,))."""
        if 'state' not in others or 'time' not in others:
            raise ValueError(
                f'{type(self).__name__} predicts noise: expected an image at a time of the diffusion (state=, time=), '
                'got none. IRSDESampler restores with it, SDEModel trains it.'
            )
        contexts = {}
        if self._degradation:
            contexts['text_context'] = condition.vector
        if self._content and condition.tokens is not None:
            contexts['image_context'] = condition.tokens[:, 0]
        noise: Tensor = self.backbone(others['state'], image, others['time'], **contexts)
        return noise


def _check_backbone(network: nn.Module) -> None:
    if not set(TAKES) <= set(inspect.signature(network.forward).parameters):
        problem = f'expected a network that is called with {", ".join(TAKES)}, got {type(network).__name__}'
        raise OptionsError('backbone.type', problem, 'Use ConditionalUNet or ConditionalNAFNet')


def _check_wants(network: nn.Module, wants: list[str], given: bool) -> None:
    if wants and not given:
        problem = f'the backbone looks at its embeddings (backbone.{wants[0]}: true), but it is missing'
        raise OptionsError(ENCODER, problem, 'Give e.g. {name: ViT-B-32, weights: auto}, or write false there')
    if given and not wants:
        problem = f'{type(network).__name__} looks at none of its embeddings'
        known = [option for option in (DEGRADATION, CONTENT) if hasattr(network, option)]
        options = ' or '.join(f'backbone.{option}: true' for option in known)
        raise OptionsError(ENCODER, problem, f'Leave it out, or write {options}' if options else 'Leave it out')
