"""DA-CLIP as it is trained contrastively: the frozen CLIP, and its controller that learns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dinoir_plugin.core.constraints import Holds
from dinoir_plugin.core.construct import check_arguments
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.clip_weights import load_clip
from dinoir_plugin.methods.daclip.controller import DACLIP
from dinoir_plugin.methods.daclip.encoder import RANDOM_WEIGHTS_SEED, SIZES
from dinoir_plugin.methods.daclip.words import END, word_tokens


@ARCH_REGISTRY.register()
class DACLIPStage1(DACLIP):
    """Train DA-CLIP's controller; :class:`DACLIPStage1Model` does it.

    Checkpoints hold CLIP, too, under the authors' names, so that what takes their ``daclip_ViT-B-32.pt`` takes them.

    Args:
        name: OpenCLIP's name of the frozen CLIP.
        weights: Of CLIP: ``auto`` (OpenCLIP's download, ``laion2b_s34b_b79k`` or ``datacomp_xl_s13b_b90k``), ``random``
            (from a fixed seed, with a warning), or the path of a file with OpenCLIP's names. A trained controller to go
            on with is ``path.pretrain_network_g``.
        start: ``zeros``: the controller adds nothing at first, so that the content is CLIP's own feature.
            ``as_released``: as the authors' code does, whose first layer begins with the weights of CLIP's last norm.
        model_args: Sizes other than the name's, for tiny ones.

    Attributes:
        purpose: What is done with it, as it restores no images.

    Raises:
        OptionsError: Weights that cannot be had or belong to another CLIP, or sizes that do not fit together.
    """

    purpose: ClassVar[str] = (
        'it is the first stage of DA-CLIP, which tells content and degradation of an image and restores none: give it '
        'to the second stage as network_g.daclip.weights'
    )

    def __init__(
        self,
        name: Literal['ViT-B-32', 'ViT-L-14'] = 'ViT-B-32',
        weights: str = 'auto',
        start: Literal['zeros', 'as_released'] = 'zeros',
        model_args: Annotated[Mapping[str, int], Holds(DACLIP)] | None = None,
    ) -> None:
        check_arguments(DACLIP, 'model_args', model_args or {})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_WEIGHTS_SEED)
            super().__init__(**{**SIZES[name], **(model_args or {})})
        self._check_vocabulary()
        if weights == 'random':
            warnings.warn('CLIP has random weights: good for trying things out. Its texts tell words apart, and no '
                          'more than that.', stacklevel=2)  # fmt: skip
        else:
            load_clip(self.clip, name, weights)
        with torch.no_grad():
            self.logit_scale.copy_(self.clip.logit_scale)
        self.visual_control.start_from(self.visual, as_released=start == 'as_released')

    def _check_vocabulary(self) -> None:
        """Refuse a text tower that cannot take the words."""
        needed = {'vocab_size': END + 1, 'context_length': word_tokens().shape[1]}
        there = {'vocab_size': self.clip.token_embedding.num_embeddings,
                 'context_length': len(self.clip.positional_embedding)}  # fmt: skip
        for key, least in needed.items():
            if there[key] < least:
                problem = f'expected at least {least}, for the words of the degradations, got {there[key]}'
                raise OptionsError(f'model_args.{key}', problem)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode images.

        Args:
            image: (B, 3, image_size, image_size), RGB, normalised with CLIP's mean and deviation.

        Returns:
            Content and degradation, (B, embed_dim) each, not normalised, and the factor of cosines, (B,), the same in
            all places.
        """
        content, degradation = self.encode_image(image)
        return content, degradation, self.logit_scale.exp().expand(len(image))
