"""The quality prompts of Perceive-IR as a network that the trainer trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dinoir_plugin.core.constraints import Holds
from dinoir_plugin.core.construct import construct
from dinoir_plugin.methods.perceive_ir.clip_aware import quality_logits
from dinoir_plugin.methods.perceive_ir.frozen_clip import FrozenCLIP, frozen_clip
from dinoir_plugin.methods.perceive_ir.prompts import LENGTH, QualityPrompts


@ARCH_REGISTRY.register()
class PerceiveIRPrompts(QualityPrompts):
    """Judge images by three prompts that learn, and a frozen CLIP; :class:`PerceiveIRPromptsModel` trains it.

    Checkpoints hold the prompts alone, under the names of the authors' release.

    Args:
        clip: Arguments of :func:`~dinoir_plugin.methods.perceive_ir.frozen_clip.frozen_clip`.
        length: Vectors of each prompt.

    Attributes:
        purpose: What is done with it, as it restores no images.
        trained_by: The model that trains it.

    Raises:
        OptionsError: A CLIP that cannot be had, or has not the words of the prompts.
    """

    purpose: ClassVar[str] = (
        'it is the first stage of Perceive-IR, which judges how good an image is and restores none: give the file '
        'prompts.pth beside it to the second stage, as prompts of its CLIPAwareLoss'
    )
    trained_by: ClassVar[str] = 'PerceiveIRPromptsModel'

    def __init__(self, clip: Annotated[Mapping[str, Any], Holds(frozen_clip)], length: int = LENGTH) -> None:
        frozen: FrozenCLIP = construct(frozen_clip, 'clip', clip)
        super().__init__(frozen.network, length)
        self.clip = frozen

    def forward(self, image: Tensor | None = None) -> Any:
        """Encode images, (B, 3, H, W), RGB, and the prompts; without images, act as :class:`QualityPrompts` does.

        Returns:
            CLIP's features of the images, (B, D), of any length, and of the prompts, (3, D), of unit length.
        """
        if image is None:
            return super().forward()
        with torch.no_grad():
            seen = self.clip(image)
        return seen, self.features(self.clip.network)

    @property
    def logit_scale(self) -> Tensor:
        """Give CLIP's own factor of cosines, a scalar."""
        return self.clip.network.logit_scale.exp()

    def judge(self, image: Tensor) -> Tensor:
        """Give the logits of images, (B, 3), for terrible, mediocre and excellent."""
        seen, prompts = self(image)
        return quality_logits(seen, prompts, self.logit_scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PerceiveIRPrompts:
        """Take CLIP along where ``.to()`` and the like go, though it is no submodule."""
        super()._apply(fn, recurse)
        self.clip.follow(fn)
        return self
