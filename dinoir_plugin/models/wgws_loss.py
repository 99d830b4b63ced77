"""What keeps WGWS-Net's branches few (Zhu et al., CVPR 2023)."""

from __future__ import annotations

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss
from dinoir_plugin.models.wgws_model import INDICATORS

# the authors' unit
PER = 1000


@LOSS_REGISTRY.register()
class WGWSIndicatorLoss(StepLoss):
    """Add up the absolute indicators of the weather that a step learns, in thousands.

    Args:
        loss_weight: Factor of the whole.
    """

    def __init__(self, loss_weight: float = 0.008) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss, a scalar.

        Raises:
            OptionsError: The run's model gives no indicators.
        """
        if INDICATORS not in outputs.aux:
            raise OptionsError('model_type', 'WGWSIndicatorLoss needs the indicators of a WGWSNet of stage 2',
                               'Use model_type: WGWSModel with stage: 2')
        indicators: Tensor = outputs.aux[INDICATORS]
        return self.loss_weight * indicators.abs().sum() / PER
