"""Training DA-CLIP's controller (Luo et al., ICLR 2024): content like a caption, degradation like a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY
from torch import Tensor

from dinoir_plugin.core import random_state
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
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.per_task import PerTask
from dinoir_plugin.models.restoration_model import RestorationModel

LARGEST_SCALE = math.log(100)
TASKS, CAPTIONS = 'datasets.train.tasks', 'datasets.train.captions'


@dataclass(frozen=True, kw_only=True)
class Stage1Options(RunOptions):
    """Declare the options file of a run of stage 1."""

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for the network of this stage, and for no metrics of images."""
        network, val = (block.get(key) for key in ('network_g', 'val'))
        if isinstance(network, Mapping) and 'type' in network:
            kind = registered_class(ARCH_REGISTRY, network['type'])
            if kind is None or not issubclass(kind, DACLIPStage1):
                yield OptionsError('network_g.type', f'expected DACLIPStage1 for this model, got {network["type"]}')
        if isinstance(val, Mapping) and val.get('metrics'):
            problem = f'this stage restores nothing that could be measured; its figures are {", ".join(FIGURES)}'
            yield OptionsError('val.metrics', problem, 'Leave it out')


@MODEL_REGISTRY.register()
class DACLIPStage1Model(RestorationModel):
    """Train and test :class:`DACLIPStage1`.

    A sample's task is its degradation's word, and ``caption`` of an item its caption. The controller and one factor of
    cosines learn, the latter between 1 and 100. Validation gives the share of images whose degradation is nearest to
    its own word (``accuracy``), and of those whose content is nearest to what CLIP sees in their own clean image, among
    those of the task (``content``). It restores no images.
    """

    declares = Stage1Options

    def __init__(self, opt: dict[str, Any]) -> None:
        for problem in Stage1Options.rules(opt, '', ''):
            raise problem
        super().__init__(opt)

    @property
    def network(self) -> DACLIPStage1:
        """Give the network that learns, without its wrapper."""
        net: DACLIPStage1 = self.get_bare_model(self.net_g)
        return net

    def init_training_settings(self) -> None:
        """Make what every run has, and encode the words, for which a package may be missing."""
        super().init_training_settings()
        # no image is restored whose error could be taken
        self.per_task = PerTask((), self.device)
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

    def nondist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Report the figures of each task and their average; see :class:`WordValidation`."""
        with random_state.kept():
            WordValidation(self, dataloader, current_iter, save_img).run(tb_logger)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Begin a set's record of the best figures."""
        self.best_metric_results = getattr(self, 'best_metric_results', {})
        begun = {name: {'better': 'higher', 'val': -math.inf, 'iter': -1} for name in FIGURES}
        self.best_metric_results.setdefault(dataset_name, begun)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a training state, and from the figures that were the best."""
        super().resume_training(resume_state)
        self._read_best(resume_state['iter'])
