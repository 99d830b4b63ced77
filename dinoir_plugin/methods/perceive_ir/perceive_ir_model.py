"""Training Perceive-IR's second stage: how good the network is by now decides which images of others are hard."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch.utils.data import DataLoader, Subset

from dinoir_plugin.core import random_state, ranks
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.constraints import From
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import option, read
from dinoir_plugin.core.outputs import as_outputs
from dinoir_plugin.methods.perceive_ir.difficulty import psnr
from dinoir_plugin.methods.perceive_ir.perceive_ir_loss import DifficultyAdaptiveLoss
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.restoration_model import RestorationModel

FILE = 'probe.json'
SEED = 3407  # of the probe's crops, which are not those that the run trains on


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Declare how the network is probed for DifficultyAdaptiveLoss."""

    every: Annotated[int, From(1)] | None = option('Iterations between two probes; left out: an epoch.')
    images: Annotated[int, From(1)] = option('Patches of each task, the same ones in each probe.', 24)


@dataclass(frozen=True, kw_only=True)
class PerceiveIROptions(RunOptions):
    """Declare what the options file of a run of stage 2 has beside all others."""

    probe: ProbeOptions | None = option('How the network is probed, for reference of DifficultyAdaptiveLoss.')


@MODEL_REGISTRY.register()
class PerceiveIRModel(RestorationModel):
    """Train Perceive-IR's second stage where the network's own standing is measured now and then.

    From the first iteration on, and after each ``probe.every``, it restores the same patches of each task; the mean
    PSNR of each goes to the losses whose ``reference`` is a probe. What was measured stands in ``models/probe.json``,
    from which a resumed run goes on.
    """

    declares = PerceiveIROptions

    def init_training_settings(self) -> None:
        """Make what every run has, and the patches of the probe."""
        super().init_training_settings()
        self._probed = [loss for loss in self.criteria.values()
                        if isinstance(loss, DifficultyAdaptiveLoss) and loss.reference != 'patch']  # fmt: skip
        self._probes: dict[int, dict[str, float]] = {}
        self._known = False
        if not self._probed:
            return
        self._probe = read(ProbeOptions, self.opt.get('probe') or {}, 'probe')
        data = self.opt['datasets']['train']
        every = self._probe.every or data.get('epoch_iters')
        if not every:
            raise OptionsError('probe.every', 'expected a number of iterations, since epochs of this data set have no '
                               'known length', 'Write e.g. probe: {every: 1000}')  # fmt: skip
        self._every = int(every)
        tasks = {name: {**block, 'weight': 1, 'repeat': 1} for name, block in data['tasks'].items()}
        written = {key: value for key, value in data.items() if key != 'epoch_iters'}
        own = {**written, 'tasks': tasks, 'sampling': 'balanced', 'second_patch': False, 'seed': SEED}
        self._patches = Subset(build_dataset(own), range(self._probe.images * len(tasks)))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin an iteration, with a probe where one is due."""
        super().update_learning_rate(current_iter, warmup_iter)
        done = current_iter - 1
        if self._probed and not (self._known and done % self._every):
            self._take_probe(done)

    def _take_probe(self, done: int) -> None:
        """Tell the losses how good the network is, as was measured before or is now."""
        last = done - done % self._every
        if not self._known:
            # all ranks go by what the first one finds, whose file system may be another
            stored = ranks.gather(self._read_probes())[0]
            self._probes = {number: row for number, row in stored.items() if number <= last}
        self._known = True
        if last not in self._probes:
            self._probes[last] = self._measure_probe()
            words = ', '.join(f'{task} {value:.2f} dB' for task, value in self._probes[last].items())
            get_root_logger().info(f'Probe after {done} iterations: {words}')
            self._write_probes()
        for loss in self._probed:
            loss.standing = self._probes[last]

    @torch.no_grad()
    def _measure_probe(self) -> dict[str, float]:
        """Give the mean PSNR of each task's patches, in dB, by the weights in training; ranks share the patches."""
        net = self.get_bare_model(self.net_g)
        training = net.training
        net.eval()
        own = []
        mine = range(ranks.rank(), len(self._patches), ranks.world_size())
        with random_state.kept():
            for number, item in zip(mine, DataLoader(self._patches, sampler=mine)):
                image = as_outputs(net(item['lq'].to(self.device))).image
                own.append((number, item['task'][0], float(psnr(image, item['gt'].to(self.device)))))
        net.train(training)
        values: dict[str, list[float]] = {}
        for _, task, value in sorted(itertools.chain.from_iterable(ranks.gather(own))):
            values.setdefault(task, []).append(value)
        return {task: sum(row) / len(row) for task, row in values.items()}

    def _probe_file(self) -> Path:
        return Path(self.opt['path']['models'], FILE)

    def _read_probes(self) -> dict[int, dict[str, float]]:
        """Read what an interrupted run measured; a run that begins measures anew."""
        path = self._probe_file()
        if not self.opt['path'].get('resume_state') or not path.is_file():
            return {}
        return {int(number): row for number, row in json.loads(path.read_text(encoding='utf-8')).items()}

    @master_only
    def _write_probes(self) -> None:
        write_atomic(self._probe_file(), (json.dumps(self._probes, indent=1) + '\n').encode())
