"""The contrastive loss of Perceive-IR's degradation codes (E10)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dinoir_plugin.core import ranks
from dinoir_plugin.nn.precision import full, no_autocast

TAU = 0.1


def code_contrast_loss(anchor: Tensor, positive: Tensor, labels: Tensor, tau: float = TAU) -> Tensor:
    r"""Draw the codes of two crops of one image together, and away from those of other degradations (InfoNCE).

    .. math::
        -\log \frac{e^{z \cdot z^+ / \tau}}{e^{z \cdot z^+ / \tau} + \sum_j e^{z \cdot z_j / \tau}}

    The sum is over the anchors of all ranks with another label, without gradient; those with the same label are left
    out. All ranks call this together; their batches may differ in size.

    Args:
        anchor: Z, (B, D), as they are: of unit length for preference.
        positive: Z of the second crops, (B, D).
        labels: Of the degradations, (B,), whole numbers.
        tau: Temperature, above 0.

    Returns:
        The mean over this rank's samples, a scalar, float32 at least; 0 where all labels are the same.
    """
    with no_autocast(anchor):
        anchor, positive = full(anchor), full(positive)
        labels = labels[:, None].to(anchor)
        others, theirs = ranks.gather_samples(torch.cat([anchor, labels], dim=1)).split([anchor.shape[1], 1], dim=1)
        towards = (anchor * positive).sum(dim=-1, keepdim=True) / tau
        away = anchor @ others.T / tau
        away = away.masked_fill(labels == theirs.T, -torch.inf)
        return (torch.cat([towards, away], dim=1).logsumexp(dim=1) - towards.squeeze(1)).mean()


def by_severity(labels: Tensor, quality: Tensor, bounds: Sequence[float]) -> Tensor:
    """Part the samples of each label by how badly they are degraded.

    Args:
        labels: Whole numbers from 0, (B,).
        quality: Of the degraded images, (B,), such as their PSNR.
        bounds: Where one severity ends and the next begins, ascending.

    Returns:
        Other whole numbers, (B,), the same for samples of the same label and severity.
    """
    return labels * (len(bounds) + 1) + sum((quality > bound).long() for bound in bounds)
