"""The edge loss of MPRNet (Zamir et al., CVPR 2021, arXiv 2102.02808), written from the paper."""

from __future__ import annotations

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.nn.precision import full, no_autocast

TAPS = (0.05, 0.25, 0.4, 0.25, 0.05)


@LOSS_REGISTRY.register(suffix='basicsr')
class EdgeLoss(nn.Module):
    r"""Compare the edges of two images: the mean of :math:`\sqrt{(\Delta pred - \Delta target)^2 + eps}`.

    :math:`\Delta` is the finest level of a Laplacian pyramid: an image less what is left of it after halving and
    doubling its size, each with a 5x5 blur.

    Args:
        loss_weight: Factor of the whole.
        eps: As in BasicSR's CharbonnierLoss; the square of the paper's.
    """

    taps: Tensor

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps
        self.register_buffer('taps', torch.tensor(TAPS), persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare.

        Args:
            pred: Restored, (B, C, H, W), RGB in [0, 1] (values outside are taken as they are).
            target: The same shape and range.

        Returns:
            A scalar.
        """
        with no_autocast(pred):
            # the Laplacian is linear: one of the difference is the difference of two
            edges = self._laplacian(full(pred) - full(target))
            return self.loss_weight * torch.sqrt(edges.square() + self.eps).mean()

    def _laplacian(self, x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)[:, None]
        spread = torch.zeros_like(planes)
        # three of four pixels are empty, so the sum is made up for
        spread[..., ::2, ::2] = 4 * self._blurred(planes, stride=2)
        return (planes - self._blurred(spread)).view_as(x)

    def _blurred(self, planes: Tensor, stride: int = 1) -> Tensor:
        taps = self.taps.to(planes)
        padded = F.pad(planes, (2, 2, 2, 2), mode='replicate')
        return F.conv2d(padded, (taps[:, None] * taps)[None, None], stride=stride)
