"""The loss of networks that compare samples with a queue of earlier ones."""

from __future__ import annotations

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss
from dinoir_plugin.nn.precision import full


@LOSS_REGISTRY.register(suffix='basicsr')
class ContrastiveQueueLoss(StepLoss):
    """Take the cross-entropy of logits that the network gives (InfoNCE, van den Oord et al., arXiv 1807.03748).

    AirNet gives ``aux['logits']`` (B, 1 + queue) and ``aux['labels']`` (B,) where the data set provides a second patch
    of each degraded image (``datasets.train.second_patch: true``).

    Args:
        loss_weight: Factor of the loss.
    """

    needs = frozenset({'key'})
    capturable = True

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar.

        Raises:
            ValueError: The network gave no logits.
        """
        if 'logits' not in outputs.aux:
            problem = 'expected logits from the network, got none: ContrastiveQueueLoss is for AirNet'
            raise ValueError(problem if 'key' in batch.others else f'{problem}, and for items with a key')
        return self.loss_weight * F.cross_entropy(full(outputs.aux['logits']), outputs.aux['labels'])
