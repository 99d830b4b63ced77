"""The CLIP that judges quality in both stages of Perceive-IR, and learns no more."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.clip import CLIP
from dinoir_plugin.encoders.clip_weights import load_clip
from dinoir_plugin.encoders.frozen import Frozen, shared
from dinoir_plugin.methods.perceive_ir.clip_aware import seen_by_clip
from dinoir_plugin.nn.precision import no_autocast

RANDOM_WEIGHTS_SEED = 0
NAME = 'ViT-B-32'


class FrozenCLIP(Frozen[CLIP]):
    """Hold a :class:`CLIP`; made by :func:`frozen_clip`. A pickle holds how to build it."""

    def __init__(self, name: str, weights: str, model_args: Mapping[str, Any]) -> None:
        net = _built(weights, model_args)
        super().__init__(net, name, weights, net.state_dict())
        self.model_args = dict(model_args)

    @property
    def network(self) -> CLIP:
        """Give the network itself, for its text tower."""
        return self._net

    def __call__(self, image: Tensor) -> Tensor:
        """Encode; gradients flow to ``image``, never to CLIP.

        Args:
            image: (B, 3, H, W), RGB; clipped to [0, 1] and squashed to CLIP's size here.

        Returns:
            (B, embed_dim), not normalised, float32 whatever autocast says.
        """
        net = self._on(image.device)
        with no_autocast(image):
            out: Tensor = net.visual(seen_by_clip(image.float(), net.visual.image_size))
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        return frozen_clip, (self.weights, self.model_args)


def frozen_clip(weights: str = 'auto', model_args: Mapping[str, Any] | None = None) -> FrozenCLIP:
    """Give the process's one frozen CLIP with these options, a ViT-B/32 of OpenAI's, built when first asked for.

    Args:
        weights: ``auto`` (a download of OpenAI's, or of OpenCLIP's without ``quick_gelu``), ``random`` (for trials) or
            the path of a file with their names, also OpenAI's archive.
        model_args: Arguments of :class:`~dinoir_plugin.encoders.clip.CLIP` other than ViT-B/32's, such as a tiny one's,
            or ``{quick_gelu: false}`` for weights that OpenCLIP trained.

    Raises:
        OptionsError: An unknown argument, or weights that cannot be had or are of another CLIP. Its path is relative to
            these options.
    """
    return shared(FrozenCLIP, NAME, weights, dict(model_args or {}))


def _built(weights: str, model_args: Mapping[str, Any]) -> CLIP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        try:
            network = CLIP(**{'quick_gelu': True, **model_args})
        except TypeError as error:
            raise OptionsError('model_args', f'CLIP does not take these arguments ({error})') from error
    if weights == 'random':
        warnings.warn('CLIP has random weights: good for trying things out, without meaning as a judge.', stacklevel=2)
    else:
        load_clip(network, NAME, weights)
    return network.requires_grad_(False).eval()
