"""Training a student by teachers: networks trained for one task each, that do not learn any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import option
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.guidance.guided_arch import backbone_of
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.restoration_model import RestorationModel
from dinoir_plugin.models.tkmanet_loss import KnowledgeTransferLoss
from dinoir_plugin.models.trained import trained_network
from dinoir_plugin.nn.knowledge_transfer import Lesson


@dataclass(frozen=True, kw_only=True)
class TransferOptions(RunOptions):
    """Declare what the options file of a run with teachers has beside all others."""

    teachers: Mapping[str, str] = option('Task to the checkpoint of its teacher.', required='train')


@MODEL_REGISTRY.register()
class TransferModel(RestorationModel):
    """Train TKMANet in its two stages, or go on like :class:`RestorationModel` where no teacher is asked.

    ``teachers`` names a checkpoint for each task of the training set, and ``network_g.teachers`` says how many there
    are. In phases with a :class:`~dinoir_plugin.models.tkmanet_loss.KnowledgeTransferLoss` each image goes to the
    teacher of its task. The authors leave out a batch in which a task is missing; here the other teachers teach.
    """

    declares = TransferOptions

    def init_training_settings(self) -> None:
        """Make what every run has, and the teachers."""
        super().init_training_settings()
        files: Mapping[str, str] = self.opt['teachers']
        expected = getattr(backbone_of(self.get_bare_model(self.net_g)), 'teachers', 0)
        if expected != len(files):
            problem = f'expected {len(files)}, as many as under teachers, got {expected}'
            raise OptionsError('network_g.teachers', problem, 'It is an option of TKMANet')
        self._teachers = {task: _teacher(path, f'teachers.{task}').to(self.device) for task, path in files.items()}

    def predict(self, batch: Batch) -> Outputs:
        """Run the network on a training batch, with what the teachers say of it where a loss of the phase asks."""
        chosen = self._phase.losses
        asked = [name for name, loss in self.criteria.items() if isinstance(loss, KnowledgeTransferLoss)]
        if any(chosen is None or name in chosen for name in asked):
            batch.others['lesson'] = self._lesson(batch)
        return super().predict(batch)

    @torch.no_grad()
    def _lesson(self, batch: Batch) -> Lesson:
        members: dict[str, list[int]] = {task: [] for task in self._teachers}
        for place, task in enumerate(batch.tasks):
            if task not in members:
                raise OptionsError(f'teachers.{task}', 'the task has no teacher', 'Name its checkpoint')
            members[task].append(place)
        images, features = [], []
        for task, places in members.items():
            if places:
                chosen = to_device(torch.tensor(places), self.device)
                said = self._teachers[task](batch.lq.index_select(0, chosen), return_feat=True)
                images.append(said.image)
                features.append(said.aux['features'])
        order = to_device(torch.tensor([place for places in members.values() for place in places]), self.device)
        counts = tuple(len(places) for places in members.values())
        levels: tuple[Tensor, ...] = tuple(torch.cat(level) for level in zip(*features))
        return Lesson(order, counts, levels, torch.cat(images))


def _teacher(path: str, option_path: str) -> nn.Module:
    """Load a trained network, which does not learn.

    Raises:
        FileError: The file cannot be read.
        OptionsError: As :func:`trained_network`, or it is no TKMANet's.
    """
    remedy = 'Train the teacher with this plugin, e.g. by options/comparisons/tkmanet_teacher.yml'

    def check(network: nn.Module) -> None:
        if not hasattr(network, 'teachers'):
            raise OptionsError(option_path, f'expected a TKMANet in {path}, got {type(network).__name__}')

    return trained_network(path, option_path, remedy, check)
