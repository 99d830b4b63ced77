"""How WGWS-Net (Zhu et al., CVPR 2023) is trained: in stage 2 each weather has a step of the optimizer for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from dinoir_plugin.archs.wgws_arch import WGWSNet
from dinoir_plugin.core import ranks
from dinoir_plugin.core.errors import OptionsError, under
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.guidance.guided_arch import backbone_of
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.restoration_model import RestorationModel

# key of what the network gives beside the image, for WGWSIndicatorLoss
INDICATORS = 'indicators'


@MODEL_REGISTRY.register()
class WGWSModel(RestorationModel):
    """Train and test WGWS-Net, guided or not.

    Stage 1 is trained as any network. In stage 2 an iteration has a step for each weather: the batch's samples of that
    task, under that task's flag. One optimizer makes all of them, and the branches of other weathers, whose gradients
    are zero, go on by its momentum, as with the authors. Over several ranks a step is taken by all of them together,
    each of its samples counting the same.

    In validation and tests a stage-2 network is told each image's task (an oracle): tasks are named in
    ``network_g.weathers``.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        backbone = backbone_of(self.get_bare_model(self.net_g))
        if not isinstance(backbone, WGWSNet):
            raise OptionsError('network_g.type', f'WGWSModel trains WGWSNet, got {type(backbone).__name__}')
        self.wgws = backbone
        if backbone.stage == 2 and not backbone.weathers:
            problem = 'expected the names of the tasks, one a branch, got none'
            raise OptionsError('network_g.weathers', problem, 'Give e.g. weathers: [denoise, deblur, derain, dehaze]')

    def optimize_parameters(self, current_iter: int) -> None:
        """Make the iteration's steps on the batch of :meth:`feed_data`.

        Raises:
            TrainingError: A loss or gradient is not finite; the weights are those after the weathers before.
            OptionsError: A task that no branch is named after.
        """
        if self.wgws.stage == 1:
            super().optimize_parameters(current_iter)
            return
        self.count_samples()
        parts, logs = list(self._by_weather()), []
        for number, (part, share) in enumerate(parts, start=1):
            self.make_step(part, current_iter, share, last=number == len(parts))
            logs.append(self._log)
        self._log = {name: torch.stack([log[name] for log in logs]).mean() for name in logs[0]}

    def predict(self, batch: Batch) -> Outputs:
        """Run the network under the flag of the batch's task; see :meth:`RestorationModel.predict`."""
        if self.wgws.stage == 1:
            return super().predict(batch)
        flag = self._flag(batch)
        outputs = super().predict(replace(batch, others={**batch.others, 'flag': flag}))
        return outputs._replace(aux={**outputs.aux, INDICATORS: self.wgws.indicators(flag)})

    def restore(self, lq: Tensor) -> Tensor:
        """Restore images under the flag of the batch's task; see :meth:`RestorationModel.restore`."""
        if self.wgws.stage == 1:
            return super().restore(lq)
        return self.restore_with(lq, flag=self._flag(self.batch))

    def _by_weather(self) -> Iterator[tuple[Batch, float]]:
        """Give each weather's samples, and what a mean over them counts among those of all ranks.

        A rank without samples of a weather that another one has goes along with a sample that counts nothing.
        """
        tasks = self.batch.tasks
        if not tasks:
            raise ValueError("expected a task for each sample, which names its branch; the data set's items have none")
        for task in tasks:
            self._flag_of(task)
        places = {name: [place for place, task in enumerate(tasks) if task == name] for name in self.wgws.weathers}
        totals = ranks.total([len(found) for found in places.values()], self.device)
        for (name, found), total in zip(places.items(), totals):
            if total:
                part = self.batch.part(found or [0])
                yield replace(part, tasks=[name] * len(part.lq)), len(found) * ranks.world_size() / total

    def _flag(self, batch: Batch) -> tuple[float, ...]:
        named = set(batch.tasks)
        if len(named) != 1:
            raise ValueError(f'expected images of one task, by which the branch is chosen, got {sorted(named)}')
        return self._flag_of(named.pop())

    def _flag_of(self, task: str) -> tuple[float, ...]:
        with under('network_g'):
            return self.wgws.flag_of(task)
