"""Training the quality prompts of Perceive-IR, its first stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.methods.perceive_ir.prompt_report import FIGURES, REPORT
from dinoir_plugin.methods.perceive_ir.prompt_validation import MEDIUM, PromptValidation
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, write_prompts
from dinoir_plugin.methods.perceive_ir.prompts_arch import PerceiveIRPrompts
from dinoir_plugin.methods.perceive_ir.prompts_loss import LABELS, PROMPTS, SCALE, SEEN
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.without_images import ModelWithoutImages, OptionsWithoutImages

FILE = 'prompts.pth'


@dataclass(frozen=True, kw_only=True)
class PromptOptions(OptionsWithoutImages):
    """Declare the options file of a training of quality prompts."""

    figures = FIGURES

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for the network of this stage, images of three qualities, and no metrics of images."""
        network, datasets = (block.get(key) for key in ('network_g', 'datasets'))
        own = PerceiveIRPrompts.__name__
        if isinstance(network, Mapping) and network.get('type', own) != own:
            yield OptionsError('network_g.type', f'expected {own} for this model, got {network["type"]}')
        yield from super().rules(block, path, phase)
        for name, data in datasets.items() if isinstance(datasets, Mapping) else ():
            tasks = data.get('tasks') if isinstance(data, Mapping) else None
            for task, options in tasks.items() if isinstance(tasks, Mapping) else ():
                if isinstance(options, Mapping) and not options.get('dataroot_medium'):
                    problem = 'expected a folder of half-restored images, which this stage compares, got none'
                    yield OptionsError(f'datasets.{name}.tasks.{task}.dataroot_medium', problem,
                                       'Make them: dinoir medium')  # fmt: skip


@MODEL_REGISTRY.register()
class PerceiveIRPromptsModel(ModelWithoutImages):
    """Train :class:`PerceiveIRPrompts`: three prompts learn to tell degraded, half-restored and clean images apart.

    Each task's degraded and half-restored images (``dataroot_medium``) are seen in the window of the clean one.
    Validation, on images that are not trained on, judges the prompts and writes ``models/prompts.pth``, which has the
    form of the authors' and says whether they are accepted; stage 2 asks for that. It restores no images.
    """

    declares = PromptOptions
    judged_by = PromptValidation

    @property
    def network(self) -> PerceiveIRPrompts:
        """Give the network that learns, without its wrapper."""
        net: PerceiveIRPrompts = self.get_bare_model(self.net_g)
        return net

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
