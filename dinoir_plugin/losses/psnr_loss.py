"""The loss of NAFNet and HINet, the negative PSNR of each image, which BasicSR has not registered."""

from __future__ import annotations

from typing import Annotated

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.constraints import Above
from dinoir_plugin.nn.precision import full


@LOSS_REGISTRY.register(suffix='basicsr')
class PSNRLoss(nn.Module):
    """Take ``10 log10(mean of squared differences + eps)`` of each image, and the mean of the images.

    The gradient of an image is divided by its error, so tasks with small errors (JPEG, blur) count as much as those
    with large ones (haze, strong noise).

    Args:
        loss_weight: Factor of the whole.
        eps: Squared difference below which an image counts less and less; 1e-4 is 40 dB, NAFNet's code has 1e-8.
    """

    def __init__(self, loss_weight: float = 1.0, eps: Annotated[float, Above(0)] = 1e-8) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare (B, C, H, W), RGB in [0, 1], with a target of the same shape; a scalar, negative."""
        errors = (full(pred) - full(target)).square().flatten(1).mean(1)
        return self.loss_weight * 10 * (errors + self.eps).log10().mean()
