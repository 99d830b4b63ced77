"""Hold the step back that a network of IR-SDE takes against the likeliest one."""

from __future__ import annotations

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.daclip.sde_model import STEP, SDEStep
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss


@LOSS_REGISTRY.register()
class SDELoss(StepLoss):
    """Measure how far the step with the predicted noise ends from the best one (maximum likelihood objective).

    Args:
        loss_weight: Factor of the whole.
    """

    capturable = True

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss, a scalar.

        Raises:
            OptionsError: The run's model does not train a diffusion.
        """
        step = outputs.aux.get(STEP)
        if not isinstance(step, SDEStep):
            raise OptionsError('model_type', 'SDELoss needs a step of a diffusion', 'Use model_type: SDEModel')
        loss = step.sde.loss(step.predicted_noise, step.state, batch.target, batch.lq, step.time)
        return self.loss_weight * loss
