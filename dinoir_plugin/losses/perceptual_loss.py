"""The perceptual loss: features of VGG instead of pixels (Johnson et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.losses.vgg_features import VGG, VGGFeatures
from dinoir_plugin.nn.precision import full


@LOSS_REGISTRY.register(suffix='basicsr')
class VGGPerceptualLoss(nn.Module):
    r"""Compare two images by VGG's features: the mean over layers of :math:`mean((f_l(pred) - f_l(target))^2)`.

    With the defaults this is the loss of TransWeather and WGWS-Net, whose images go in as they are; BasicSR's
    PerceptualLoss, with other layers, sums and distances, normalises them as ImageNet's.

    Args:
        loss_weight: Factor of the whole.
        net: Which VGG gives the features, ``vgg16`` or ``vgg19``.
        layers: VGG's layers that are compared, of ``relu1_1`` to ``relu5_3`` (VGG16) or ``relu5_4`` (VGG19).
        weights: ``auto`` (torchvision's, downloaded), ``random``, or a file's path, as for :class:`VGGFeatures`.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        net: VGG = 'vgg16',
        layers: Sequence[str] = ('relu1_2', 'relu2_2', 'relu3_3'),
        weights: str = 'auto',
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.features = VGGFeatures(net, layers, weights)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare.

        Args:
            pred: Restored, (B, 3, H, W), RGB in [0, 1] (values outside are taken as they are).
            target: The same shape and range.

        Returns:
            A scalar; gradients flow through ``pred`` only.
        """
        with torch.no_grad():
            wanted = self.features(target)
        distances = [F.mse_loss(full(one), full(other)) for one, other in zip(self.features(pred), wanted)]
        return self.loss_weight * torch.stack(distances).mean()
