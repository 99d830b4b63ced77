"""Training the quality prompts of Perceive-IR, its first stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY

from dinoir_plugin.core import random_state
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.perceive_ir.prompt_report import FIGURES, REPORT
from dinoir_plugin.methods.perceive_ir.prompt_validation import MEDIUM, PromptValidation
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, write_prompts
from dinoir_plugin.methods.perceive_ir.prompts_arch import PerceiveIRPrompts
from dinoir_plugin.methods.perceive_ir.prompts_loss import LABELS, PROMPTS, SCALE, SEEN
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.per_task import PerTask
from dinoir_plugin.models.restoration_model import RestorationModel

FILE = 'prompts.pth'


@dataclass(frozen=True, kw_only=True)
class PromptOptions(RunOptions):
    """Declare the options file of a training of quality prompts."""

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for the network of this stage, images of three qualities, and no metrics of images."""
        network, val, datasets = (block.get(key) for key in ('network_g', 'val', 'datasets'))
        own = PerceiveIRPrompts.__name__
        if isinstance(network, Mapping) and network.get('type', own) != own:
            yield OptionsError('network_g.type', f'expected {own} for this model, got {network["type"]}')
        if isinstance(val, Mapping) and val.get('metrics'):
            problem = f'this stage restores nothing that could be measured; its figures are {", ".join(FIGURES)}'
            yield OptionsError('val.metrics', problem, 'Leave it out')
        for name, data in datasets.items() if isinstance(datasets, Mapping) else ():
            tasks = data.get('tasks') if isinstance(data, Mapping) else None
            for task, options in tasks.items() if isinstance(tasks, Mapping) else ():
                if isinstance(options, Mapping) and not options.get('dataroot_medium'):
                    problem = 'expected a folder of half-restored images, which this stage compares, got none'
                    yield OptionsError(f'datasets.{name}.tasks.{task}.dataroot_medium', problem,
                                       'Make them: dinoir medium')  # fmt: skip


@MODEL_REGISTRY.register()
class PerceiveIRPromptsModel(RestorationModel):
    """Train :class:`PerceiveIRPrompts`: three prompts learn to tell degraded, half-restored and clean images apart.

    Each task's degraded and half-restored images (``dataroot_medium``) are seen in the window of the clean one.
    Validation, on images that are not trained on, judges the prompts and writes ``models/prompts.pth``, which has the
    form of the authors' and says whether they are accepted; stage 2 asks for that. It restores no images.
    """

    declares = PromptOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        for problem in PromptOptions.rules(opt, '', ''):
            raise problem
        super().__init__(opt)

    @property
    def network(self) -> PerceiveIRPrompts:
        """Give the network that learns, without its wrapper."""
        net: PerceiveIRPrompts = self.get_bare_model(self.net_g)
        return net

    def init_training_settings(self) -> None:
        """Make what every run has."""
        super().init_training_settings()
        # no image is restored whose error could be taken
        self.per_task = PerTask((), self.device)

    def predict(self, batch: Batch) -> Outputs:
        """Judge the three qualities of a training batch."""
        tiers = [batch.lq, batch.others[MEDIUM], batch.target]
        labels = torch.arange(len(tiers), device=self.device).repeat_interleave(len(batch.lq))
        seen, prompts = self._run_net(torch.cat(tiers))
        aux = {SEEN: seen, PROMPTS: prompts, SCALE: self.network.logit_scale, LABELS: labels}
        return Outputs(batch.lq, aux=aux)

    @master_only
    def write_prompts(self, iteration: int, report: Mapping[str, Any] | None = None) -> None:
        """Write the prompts as the authors' release does.

        Args:
            iteration: Of the training.
            report: What validation found, see :func:`~dinoir_plugin.methods.perceive_ir.prompt_report.acceptance`.
        """
        others = {} if report is None else {REPORT: dict(report)}
        balanced = self.opt['datasets']['train'].get('sampling', 'balanced') == 'balanced'
        file = PromptFile(self.network, iteration, balanced, others)
        write_prompts(Path(self.opt['path']['models'], FILE), file)

    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint, and the prompts by themselves where no validation does."""
        super().save(epoch, current_iter)
        if set(self.opt['datasets']) == {'train'}:
            self.write_prompts(self.opt['train']['total_iter'] if current_iter == -1 else current_iter)

    def nondist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Report the figures of each task and their average; see :class:`PromptValidation`."""
        with random_state.kept():
            PromptValidation(self, dataloader, current_iter, save_img).run(tb_logger)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Begin a set's record of the best figures."""
        self.best_metric_results = getattr(self, 'best_metric_results', {})
        begun = {name: {'better': 'higher', 'val': -math.inf, 'iter': -1} for name in FIGURES}
        self.best_metric_results.setdefault(dataset_name, begun)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a training state, and from the figures that were the best."""
        super().resume_training(resume_state)
        self._read_best(resume_state['iter'])
