"""The smooth L1 loss of TransWeather and WGWS-Net, which BasicSR has not registered."""

from __future__ import annotations

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.nn.precision import full


@LOSS_REGISTRY.register(suffix='basicsr')
class SmoothL1Loss(nn.Module):
    """Take half the squared difference below ``beta``, over ``beta``; above, the difference less half of ``beta``.

    Args:
        loss_weight: Factor of the whole.
        beta: Where the one goes over into the other; with 1 the squared half applies to nearly all of images in [0, 1].
    """

    def __init__(self, loss_weight: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.beta = beta

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare (B, C, H, W), RGB in [0, 1], with a target of the same shape; the mean, a scalar."""
        return self.loss_weight * F.smooth_l1_loss(full(pred), full(target), beta=self.beta)
