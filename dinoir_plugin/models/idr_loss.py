"""The losses of IDR (Zhang et al., CVPR 2023) beside that of its image."""

from __future__ import annotations

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss
from dinoir_plugin.nn.idr_blocks import resized
from dinoir_plugin.nn.precision import full

LEVELS = (1, 0.5, 0.25)
MULTIPLE = 8  # to which IDR pads


@LOSS_REGISTRY.register(suffix='basicsr')
class IDRLevelLoss(StepLoss):
    """Compare the restored images of IDR's three levels with the target of their size: the sum of three L1.

    Args:
        loss_weight: Factor of the loss.
        antialias: Whether the target is smoothed as it is shrunk, as ``antialias`` of the network says.
    """

    def __init__(self, loss_weight: float = 1.0, antialias: bool = False) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.antialias = antialias

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar.

        Raises:
            ValueError: The network gave no such images.
        """
        if 'restored' not in outputs.aux:
            raise ValueError('expected images of three levels from the network, got none: IDRLevelLoss is for IDR')
        target = pad_to_multiple(batch.target, MULTIPLE)
        distances = [
            F.l1_loss(full(image), full(resized(target, factor, self.antialias)))
            for image, factor in zip(outputs.aux['restored'], LEVELS)
        ]
        return self.loss_weight * torch.stack(distances).sum()


@LOSS_REGISTRY.register(suffix='basicsr')
class IDRTypeLoss(StepLoss):
    """Teach IDR's three levels to tell the types of degradation apart: the sum of three cross-entropies.

    As in the authors' code they are taken of what a softmax gave, as if those were logits. For the first stage of
    training; the second one gives no types.

    Args:
        loss_weight: Factor of the loss.
        label_smoothing: What part of the wanted distribution is shared out evenly.
    """

    needs = frozenset({'task'})

    def __init__(self, loss_weight: float = 0.01, label_smoothing: float = 0.1) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.label_smoothing = label_smoothing

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar.

        Raises:
            ValueError: The network gave no types.
        """
        if 'types' not in outputs.aux:
            raise ValueError('expected types of degradation from the network, got none: IDRTypeLoss is for stage 1 of '
                             'IDR. Leave it out of the losses of the other phases')  # fmt: skip
        kinds = outputs.aux['types']
        losses = [
            F.cross_entropy(full(likely), kinds, label_smoothing=self.label_smoothing)
            for likely in outputs.aux['likely']
        ]
        return self.loss_weight * torch.stack(losses).sum()
