"""Training DA-CLIP's controller (Luo et al., ICLR 2024): content like a caption, degradation like a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY
from torch import Tensor

from dinoir_plugin.core.construct import registered_class
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.daclip.daclip_stage1_arch import DACLIPStage1
from dinoir_plugin.methods.daclip.daclip_stage1_loss import (
    CAPTION,
    CLEAN,
    CONTENT,
    DEGRADATION,
    SCALE,
    WORD,
    PairLoss,
    Partner,
)
from dinoir_plugin.methods.daclip.preprocessing import clip_image
from dinoir_plugin.methods.daclip.texts import Texts, kinds_of
from dinoir_plugin.methods.daclip.word_validation import FIGURES, WordValidation
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.without_images import ModelWithoutImages, OptionsWithoutImages

LARGEST_SCALE = math.log(100)
TASKS, CAPTIONS = 'datasets.train.tasks', 'datasets.train.captions'


@dataclass(frozen=True, kw_only=True)
class Stage1Options(OptionsWithoutImages):
    """Declare the options file of a run of stage 1."""

    figures = FIGURES

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for the network of this stage, and for no metrics of images."""
        network = block.get('network_g')
        if isinstance(network, Mapping) and 'type' in network:
            kind = registered_class(ARCH_REGISTRY, network['type'])
            if kind is None or not issubclass(kind, DACLIPStage1):
                yield OptionsError('network_g.type', f'expected DACLIPStage1 for this model, got {network["type"]}')
        yield from super().rules(block, path, phase)


@MODEL_REGISTRY.register()
class DACLIPStage1Model(ModelWithoutImages):
    """Train and test :class:`DACLIPStage1`.

    A sample's task is its degradation's word, and ``caption`` of an item its caption. The controller and one factor of
    cosines learn, the latter between 1 and 100. Validation gives the share of images whose degradation is nearest to
    its own word (``accuracy``), and of those whose content is nearest to what CLIP sees in their own clean image, among
    those of the task (``content``). It restores no images.
    """

    declares = Stage1Options
    judged_by = WordValidation

    @property
    def network(self) -> DACLIPStage1:
        """Give the network that learns, without its wrapper."""
        net: DACLIPStage1 = self.get_bare_model(self.net_g)
        return net

    def init_training_settings(self) -> None:
        """Make what every run has, and encode the words, for which a package may be missing."""
        super().init_training_settings()
        self._texts = Texts(self.network)
        self._texts.features(list(self.opt['datasets']['train'].get('tasks') or ()), TASKS)

    def setup_optimizers(self) -> None:
        """Make the optimizer; the host's own method names each tensor of the frozen CLIP in a line of the log."""
        options = dict(self.opt['train']['optim_g'])
        kind = options.pop('type')
        learning = [parameter for parameter in self.net_g.parameters() if parameter.requires_grad]
        self.optimizer_g = self.get_optimizer(kind, learning, **options)
        self.optimizers.append(self.optimizer_g)

    def predict(self, batch: Batch) -> Outputs:
        """Encode a training batch, and what its embeddings are held against by the losses of the phase."""
        side = self.network.visual.image_size
        content, degradation, scale = self._run_net(clip_image(batch.lq, side))
        chosen = self._phase.losses
        losses = [loss for name, loss in self.criteria.items() if chosen is None or name in chosen]
        partners = {loss.partner for loss in losses if isinstance(loss, PairLoss)}
        found = {CONTENT: content, DEGRADATION: degradation, SCALE: scale.mean()}
        return Outputs(batch.lq, aux={**found, **{name: self._partner(name, batch) for name in partners}})

    def _partner(self, name: str, batch: Batch) -> Partner:
        if name == CLEAN:
            with torch.no_grad():
                clean = clip_image(batch.target, self.network.visual.image_size)
                return Partner(self.network.encode_image(clean, control=False))
        texts, option = (batch.tasks, TASKS) if name == WORD else (batch.others[CAPTION], CAPTIONS)
        return Partner(self._texts.features(texts, option), kinds_of(texts, self.device))

    def make_step(self, batch: Batch, current_iter: int, share: float = 1.0, last: bool = True) -> None:
        """Make a step as :meth:`RestorationModel.make_step` does, and keep the factor of cosines in its bounds."""
        super().make_step(batch, current_iter, share, last)
        with torch.no_grad():
            self.network.logit_scale.clamp_(0, LARGEST_SCALE)

    def log_step(self, log: dict[str, Tensor]) -> None:
        """Keep a step's numbers for the log, with the factor of cosines that it was made with."""
        super().log_step({**log, SCALE: self.network.logit_scale.detach().exp()})
