"""Train a network that predicts the noise of IR-SDE."""

from __future__ import annotations

from typing import NamedTuple

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.daclip.irsde import IRSDE
from dinoir_plugin.methods.daclip.irsde_sampler import diffusion_of
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.restoration_model import RestorationModel

# key of what the model gives beside the image, for SDELoss
STEP = 'sde_step'


class SDEStep(NamedTuple):
    """Hold what a training step drew and what the network saw in it.

    Attributes:
        sde: The diffusion.
        state: Images at their times, (B, 3, H, W).
        time: (B,), whole numbers from 1 to T.
        predicted_noise: Of the network, (B, 3, H, W).
    """

    sde: IRSDE
    state: Tensor
    time: Tensor
    predicted_noise: Tensor


@MODEL_REGISTRY.register()
class SDEModel(RestorationModel):
    """Train and test a network of IR-SDE.

    A step draws a time for each image, and the image at that time, on the device. ``SDELoss`` judges the noise that the
    network predicts; losses of images judge the clean image that follows from it, and so do the log's ``l1/<task>``.
    """

    capturable = True

    @classmethod
    def check_network(cls, network: nn.Module) -> None:
        """Refuse a network without a diffusion; see :meth:`RestorationModel.check_network`."""
        super().check_network(network)
        diffusion_of(network, 'network_g.type')

    def predict(self, batch: Batch) -> Outputs:
        """Predict the noise of images at times drawn at random.

        Returns:
            The clean image as the network sees it, (B, 3, H, W), RGB, clipped to [0, 1]: late times see next to
            nothing of it. Beside it a :class:`SDEStep`.
        """
        sde = diffusion_of(self.get_bare_model(self.net_g), 'network_g.type')
        lq, target = batch.lq, batch.target
        time = torch.randint(1, sde.T + 1, (len(lq),), device=lq.device)
        state = sde.state(target, lq, time, torch.randn_like(target))
        noise = self.predict_with(batch, state=state, time=time).image
        clean = sde.clean(state, lq, noise.float(), time).clamp(0, 1)
        return Outputs(clean, aux={STEP: SDEStep(sde, state, time, noise)})
