"""The losses of TKMANet's two stages (Chen et al., CVPR 2022): knowledge transfer and contrast with the input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.losses.vgg_features import VGGFeatures
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss
from dinoir_plugin.nn.knowledge_transfer import Lesson
from dinoir_plugin.nn.precision import full

LAYERS = ('relu1_1', 'relu2_1', 'relu3_1', 'relu4_1', 'relu5_1')
LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)
EPS = 1e-7


@LOSS_REGISTRY.register(suffix='basicsr')
class KnowledgeTransferLoss(StepLoss):
    """Draw a student's image and features to those of its teachers (collaborative knowledge transfer).

    The sum of: L1 of the image against the teachers'; L1 of the projected features of student and teachers, of each
    level; ``restored_weight`` times L1 of the teachers' features against what is left of them after their projection.
    For :mod:`~dinoir_plugin.models.transfer_model`, which asks the teachers in the phases that have this loss.

    Args:
        loss_weight: Factor of the whole.
        restored_weight: Factor of the last part, which keeps the projection of the teachers' features true to them.
    """

    needs = frozenset({'task'})

    def __init__(self, loss_weight: float = 1.0, restored_weight: float = 0.05) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.restored_weight = restored_weight

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar.

        Raises:
            ValueError: The network gave nothing of teachers.
        """
        if 'lesson' not in outputs.aux:
            raise ValueError('expected what teachers say of the batch, got nothing: KnowledgeTransferLoss is for '
                             'model_type: TransferModel and network_g: {type: TKMANet, teachers: N}')  # fmt: skip
        lesson: Lesson = outputs.aux['lesson']
        total = F.l1_loss(full(outputs.image.index_select(0, lesson.order)), full(lesson.image))
        for level in outputs.aux['transfers']:
            total = total + F.l1_loss(full(level.student), full(level.teacher))
            total = total + self.restored_weight * F.l1_loss(full(level.restored), full(level.wanted))
        return self.loss_weight * total


class _ContrastiveLoss(StepLoss):
    r"""Compare by features of VGG19: :math:`\sum_l w_l |f_l(out) - f_l(good)|_1 / (|f_l(out) - f_l(bad)|_1 + 10^{-7})`.

    Both distances are means over the batch before they are divided, as in the authors' code: ranks with other images
    give other sums. The images go in as they are, not normalised as ImageNet's.

    Args:
        loss_weight: Factor of the whole.
        layers: VGG19's layers that are compared, of ``relu1_1`` to ``relu5_4``.
        layer_weights: w_l, one for each layer.
        weights: ``auto`` (torchvision's, downloaded), ``random``, or a file's path, as for
            :class:`~dinoir_plugin.losses.vgg_features.VGGFeatures`.

    Raises:
        OptionsError: As VGGFeatures, or weights that do not match the layers.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        layers: Sequence[str] = LAYERS,
        layer_weights: Sequence[float] = LAYER_WEIGHTS,
        weights: str = 'auto',
    ) -> None:
        super().__init__()
        if len(layer_weights) != len(layers):
            raise OptionsError(
                'layer_weights', f'expected {len(layers)} numbers, one a layer, got {len(layer_weights)}'
            )
        self.loss_weight = loss_weight
        self.layer_weights = tuple(layer_weights)
        self.features = VGGFeatures('vgg19', layers, weights)

    def forward(self, output: Tensor, good: Tensor, bad: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            output: Restored, (B, 3, H, W), RGB in [0, 1] (values outside are taken as they are).
            good: What it is drawn to, the same shape and range.
            bad: What it is pushed away from, the same shape and range.

        Returns:
            A scalar; gradients flow through ``output`` only.
        """
        with torch.no_grad():
            goods, bads = self.features(good), self.features(bad)
        total = output.new_zeros((), dtype=full(output).dtype)
        for weight, out, near, far in zip(self.layer_weights, self.features(output), goods, bads):
            out = full(out)
            total = total + weight * F.l1_loss(out, full(near)) / (self._distance(out, full(far)) + EPS)
        return self.loss_weight * total

    @abstractmethod
    def _distance(self, output: Tensor, bad: Tensor) -> Tensor:
        """Give the mean distance of features, (B, C, h, w), from those of degraded images, a scalar."""


@LOSS_REGISTRY.register(suffix='basicsr')
class SCRLoss(_ContrastiveLoss):
    """Draw the image to the teachers' and away from its own input (soft contrastive regularisation).

    Without teachers it is drawn to the target. Arguments and formula: those of :class:`_ContrastiveLoss`; the authors'
    ``loss_weight`` is 0.1.
    """

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar."""
        lesson: Lesson | None = outputs.aux.get('lesson')
        if lesson is None:
            return self(outputs.image, batch.target, batch.lq)
        image, degraded = (part.index_select(0, lesson.order) for part in (outputs.image, batch.lq))
        return self(image, lesson.image, degraded)

    def _distance(self, output: Tensor, bad: Tensor) -> Tensor:
        return F.l1_loss(output, bad)


@LOSS_REGISTRY.register(suffix='basicsr')
class HCRLoss(_ContrastiveLoss):
    """Draw the image to the target and away from all inputs of the batch (hard contrastive regularisation).

    Arguments and formula: those of :class:`_ContrastiveLoss`; the authors' ``loss_weight`` is 0.2.
    """

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar."""
        return self(outputs.image, batch.target, batch.lq)

    def _distance(self, output: Tensor, bad: Tensor) -> Tensor:
        # input by input: all pairs at once would take as many times the memory as there are images
        return torch.stack([F.l1_loss(output, other.expand_as(output)) for other in bad]).mean()
