"""A trained DA-CLIP that tells restoration networks the content and the degradation of an image, and learns no more."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.constraints import AtLeast
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.encoders.frozen import Frozen, shared
from dinoir_plugin.encoders.weight_files import hub_file
from dinoir_plugin.methods.daclip.controller import DACLIP
from dinoir_plugin.methods.daclip.preprocessing import clip_views
from dinoir_plugin.nn.precision import full_type, no_autocast

# OpenCLIP's names of the towers, and what they differ in from DACLIP's defaults
SIZES: dict[str, dict[str, int]] = {
    'ViT-B-32': {},
    'ViT-L-14': {'embed_dim': 768, 'patch_size': 14, 'vision_width': 1024, 'vision_layers': 24, 'text_width': 768,
                 'text_heads': 12},
}  # fmt: skip
# where the authors keep the weights of the ten degradations
REPOSITORY, RELEASED = 'weblzw/daclip-uir-ViT-B-32-irsde', {'ViT-B-32': 'daclip_ViT-B-32.pt'}
RANDOM_WEIGHTS_SEED = 0


class FrozenDACLIP(Frozen[DACLIP]):
    """Hold a trained :class:`DACLIP`; made by :func:`frozen_daclip`. A pickle holds how to build it."""

    of_one_size = True

    def __init__(self, name: str, weights: str, views: int, model_args: Mapping[str, Any]) -> None:
        net = _built(name, weights, model_args)
        super().__init__(net, name, weights, {**net.visual.state_dict(), **net.visual_control.state_dict()})
        self.views, self.model_args = views, dict(model_args)

    @property
    def width(self) -> int:
        """Give the width of both embeddings."""
        return int(self._net.visual.proj.shape[1])

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, without gradients.

        Args:
            image: (B, 3, H, W), RGB in [0, 1], on any device.

        Returns:
            Content and degradation, (B, width) each, not normalised, computed in float32 whatever autocast says; the
            mean over the views.
        """
        net = self._on(image.device)
        with no_autocast(image):
            seen = clip_views(image.float(), net.visual.image_size, self.views)
            content, degradation = net.encode_image(torch.cat(seen))
        of_image = (part.unflatten(0, (len(seen), -1)).mean(dim=0) for part in (content, degradation))
        content, degradation = (part.to(full_type(image)) for part in of_image)
        return content, degradation

    def __reduce__(self) -> tuple[Any, ...]:
        return frozen_daclip, (self.name, self.weights, self.views, self.model_args)


def frozen_daclip(
    name: str = 'ViT-B-32',
    weights: str = 'auto',
    views: Annotated[int, AtLeast(1)] = 1,
    model_args: Mapping[str, int] | None = None,
) -> FrozenDACLIP:
    """Give the process's one frozen DA-CLIP with these options, built when first asked for.

    Args:
        name: ``ViT-B-32`` (the ten degradations) or ``ViT-L-14`` (degradations in the wild).
        weights: ``auto`` (the authors' download, for ViT-B-32), ``random`` (for trials) or the path of a file: theirs,
            or a checkpoint of stage 1.
        views: How many squares along the longer side are looked at, whose embeddings are averaged. The authors look at
            the middle one alone (1).
        model_args: Arguments of :class:`DACLIP` other than the name's, such as a tiny one's.

    Raises:
        OptionsError: Unknown name or argument, or weights that cannot be had or are of another CLIP. Its path is
            relative to these options.
    """
    return shared(FrozenDACLIP, name, weights, views, dict(model_args or {}))


def _built(name: str, weights: str, model_args: Mapping[str, Any]) -> DACLIP:
    if name not in SIZES:
        raise OptionsError('name', f"there is no CLIP '{name}'", nearest(name, SIZES))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        try:
            network = DACLIP(**{**SIZES[name], **model_args})
        except TypeError as error:
            raise OptionsError('model_args', f'DACLIP does not take these arguments ({error})') from error
    if weights == 'random':
        warnings.warn('DA-CLIP has random weights: good for trying things out, without meaning as guidance.',
                      stacklevel=2)  # fmt: skip
    else:
        _load(network, name, _download(name) if weights == 'auto' else Path(weights).expanduser())
    return network.requires_grad_(False).eval()


def _load(network: DACLIP, name: str, path: Path) -> None:
    remedy = 'Give a checkpoint of stage 1, or the daclip_*.pt of the authors, for this name and model_args'
    try:
        file = network_file.read(path)
    except FileError as error:
        raise OptionsError('weights', f"expected 'auto', 'random' or a file of DA-CLIP, but {error}", remedy) from error
    _, found = file.choose('params_ema', network)
    if found.problem():
        raise OptionsError('weights', f"{path} holds no DA-CLIP '{name}': it {found.problem()}", remedy)
    network.load_state_dict(found.state)


def _download(name: str) -> Path:
    """Fetch the authors' weights, or find them where they were fetched before."""
    file = RELEASED.get(name)
    if file is None:
        remedy = f"Give the path of a file; 'auto' knows {', '.join(RELEASED)}"
        raise OptionsError('weights', f"no weights of '{name}' can be downloaded", remedy)
    return hub_file(REPOSITORY, (file,), file)
