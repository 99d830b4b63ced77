"""The CLIP-aware loss of Perceive-IR (E11): restored images are to look excellent to the quality prompts."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.encoders.clip import MEAN, STD
from dinoir_plugin.methods.perceive_ir.semantics import SIDE, resized
from dinoir_plugin.nn.colours import normalised
from dinoir_plugin.nn.precision import full, no_autocast

EXCELLENT = 2  # of terrible, mediocre, excellent


def quality_logits(image_features: Tensor, quality_features: Tensor, logit_scale: float | Tensor = 1.0) -> Tensor:
    """Give the cosines of images and quality prompts, times a factor.

    Args:
        image_features: (B, D), of any length.
        quality_features: (3, D), of unit length.
        logit_scale: The factor.

    Returns:
        (B, 3), float32 at least.
    """
    with no_autocast(image_features):
        return logit_scale * F.normalize(full(image_features), dim=-1) @ full(quality_features).T


def clip_aware_loss(image_features: Tensor, quality_features: Tensor, logit_scale: float = 1.0) -> Tensor:
    """Give what is missing to certainty that images are excellent, ``mean(1 - p)``.

    With the factor 1 of the release p stays near one third, and the loss is nearly constant; CLIP's own factor is 100.

    Args:
        image_features: CLIP's of restored images, (B, D), of any length.
        quality_features: Of the prompts terrible, mediocre, excellent, (3, D), of unit length.
        logit_scale: Factor of the cosines.

    Returns:
        A scalar, float32 at least; gradients flow through ``image_features``.
    """
    logits = quality_logits(image_features, quality_features, logit_scale)
    return (1 - logits.softmax(dim=-1)[:, EXCELLENT]).mean()


def seen_by_clip(image: Tensor, side: int = SIDE) -> Tensor:
    """Give restored images, (B, 3, H, W), RGB, as CLIP is to see them: (B, 3, side, side), clipped and normalised."""
    return normalised(resized(full(image).clamp(0, 1), 'squash', side), MEAN, STD)
