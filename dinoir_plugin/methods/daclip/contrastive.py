"""The contrastive loss between embeddings of images and what belongs to them, over all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core import ranks
from dinoir_plugin.nn.precision import full, no_autocast


class _Gathered(torch.autograd.Function):
    """Collect the samples of all ranks.

    The gradient goes to the own ones alone: as each rank computes the whole loss, the others' get theirs there. It
    counts as often as there are ranks, over which DDP takes the mean.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return ranks.gather_tensor(own)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad[ranks.rank() :: ranks.world_size()] * ranks.world_size()


def gathered(own: Tensor) -> Tensor:
    """Collect the samples of all ranks, (B, ...), to (B * world size, ...); all ranks call this together."""
    if ranks.world_size() == 1:
        return own
    out: Tensor = _Gathered.apply(own)
    return out


def contrastive(images: Tensor, others: Tensor, scale: Tensor, kinds: Tensor | None = None) -> Tensor:
    """Ask of each image which of the others is its own, and of each of the others which image is.

    Without ``kinds`` that is CLIP's symmetric loss, whose targets lie on the diagonal: equal texts count as wrong
    answers to each other. With ``kinds`` each different text counts once, however often it occurs: images choose among
    the different texts, and a text's images share its target evenly. The least value that this sharing allows is taken
    off, so that the loss of a network that knows all of them is 0. Where no two texts are equal, both are the same.

    Sharing the targets alone would change nothing: with equal texts, whose features are equal, value and gradients are
    those of the diagonal.

    Args:
        images: Embeddings, (B, D), not normalised.
        others: What belongs to them, (B, D), not normalised.
        scale: Factor of cosines, a scalar.
        kinds: Numbers that are equal where texts are, (B,).

    Returns:
        A scalar, in float32 at least, over the samples of all ranks, which call this together.
    """
    with no_autocast(images):
        images, others = (gathered(F.normalize(full(one), dim=-1)) for one in (images, others))
        logits = full(scale) * images @ others.T
        own = logits.diagonal()
        if kinds is None:
            return (logits.logsumexp(dim=1) + logits.logsumexp(dim=0)).div(2).sub(own).mean()
        kinds = ranks.gather_tensor(kinds)
        equal = (kinds[:, None] == kinds).sum(dim=0).to(logits.dtype)
        to_others = (logits - equal.log()).logsumexp(dim=1) - own
        to_images = logits.logsumexp(dim=0) - own - equal.log()
        return (to_others.mean() + (to_images / equal).sum() / (1 / equal).sum()) / 2
