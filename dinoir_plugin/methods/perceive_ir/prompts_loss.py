"""The loss of Perceive-IR's first stage."""

from __future__ import annotations

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.perceive_ir.prompts import prompt_loss
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss

SEEN, PROMPTS, SCALE, LABELS = 'seen', 'prompts', 'scale', 'labels'


@LOSS_REGISTRY.register()
class QualityPromptLoss(StepLoss):
    """Teach prompts to tell degraded, half-restored and clean images apart; see :func:`prompt_loss`.

    For PerceiveIRPromptsModel.

    Args:
        loss_weight: Factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar.

        Raises:
            ValueError: The outputs hold no prompts.
        """
        if PROMPTS not in outputs.aux:
            raise ValueError('expected features of prompts, got none: QualityPromptLoss is for PerceiveIRPromptsModel')
        found = outputs.aux
        return self.loss_weight * prompt_loss(found[SEEN], found[LABELS], found[PROMPTS], found[SCALE])
