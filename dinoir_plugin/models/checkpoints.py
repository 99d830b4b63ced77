"""Checkpoints that are whole or not there, and that hold all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import Tensor, nn

from dinoir_plugin.core import network_file, random_state, ranks
from dinoir_plugin.core.atomic_files import UNFINISHED, save_atomic, write_atomic
from dinoir_plugin.core.pretrained import Extent, weights_for
from dinoir_plugin.core.training_state import PASSED_OVER
from dinoir_plugin.guidance.guided_arch import encoders_of
from dinoir_plugin.guidance.trained_with import other_encoder, other_options
from dinoir_plugin.metrics.measures import better_value, find_metric
from dinoir_plugin.models import results
from dinoir_plugin.models.per_task import PerTask
from dinoir_plugin.models.phases import Phases
from dinoir_plugin.models.provenance import Origin
from dinoir_plugin.models.resuming import (
    changed,
    check_optimizer,
    check_schedule,
    keeps_state,
    kept_options,
    load_optimizer,
    option_changes,
    replay,
    schedule_changes,
)

ITERATION = re.compile(r'(?:net_g_)?(\d+)\.(?:pth|state)')
BEST = 'best.json'


class Checkpoints(BaseModel):
    """Write and read checkpoints; names, folders and keys are BasicSR's.

    A training state holds, beside epoch, iteration, optimizers and schedulers, the number of samples that all ranks
    have seen, each rank's random numbers and the sums of the log line that is being filled. Every file is written whole
    or not at all (:mod:`dinoir_plugin.core.atomic_files`); the network comes before the state. ``logger.keep_last``
    deletes all but the newest checkpoints and those that were the best of a validation set by one of its metrics; which
    these are stands in ``models/best.json``.
    """

    # of the process: the options file, and what the command line forces beside it
    options_file = ''

    per_task: PerTask
    phases: Phases
    # of the network that is tested, on the first rank
    origin: Origin | None = None
    _of_ranks: Sequence[dict[str, Any]] = ()
    _samples = 0

    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint; all ranks call this together.

        Args:
            epoch: The trainer's epoch, or -1 at the end of training.
            current_iter: The iteration, or -1 for the network alone, as ``net_g_latest.pth``.

        Raises:
            FileError: A file could not be written; those of earlier checkpoints are as they were.
        """
        own = {'random': random_state.capture(), 'per_task': self.per_task.state()}
        self._of_ranks = ranks.gather(own)
        super().save(epoch, current_iter)
        self._delete_old()

    @master_only
    def save_network(
        self,
        net: nn.Module | Sequence[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | Sequence[str] = 'params',
    ) -> None:
        """Write networks, and what it takes to build them again, to one file; arguments as BasicSR's."""
        nets = [net] if isinstance(net, nn.Module) else net
        keys = [param_key] if isinstance(param_key, str) else param_key
        states = {key: _on_cpu(self.get_bare_model(each)) for key, each in zip(keys, nets, strict=True)}
        name = 'latest' if current_iter == -1 else current_iter
        path = Path(self.opt['path']['models'], f'{net_label}_{name}.pth')
        save_atomic(path, network_file.pack(states, self._describe(nets[0], net_label, current_iter)))

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
    ) -> None:
        """Fill a network from a file of any kind; arguments as BasicSR's.

        A resumed run takes its own files as a whole. One that starts from weights takes those of a guided network's
        backbone, too.

        Raises:
            OptionsError: The file cannot be read or does not fit, or without ``strict`` nothing of it does.
        """
        net = self.get_bare_model(net)
        paths = self.opt['path']
        option = next((key for key, value in paths.items() if value == load_path), 'pretrain_network_g')
        resumed = paths.get('resume_state') and Path(load_path).parent == Path(paths['models'])
        extent: Extent = 'whole' if resumed or not self.is_train else 'start'
        weights = weights_for(net, load_path, param_key, extent if resumed or strict else 'part', f'path.{option}')
        options = self.opt.get(option.replace('pretrain_', '', 1)) or {}
        remedy = 'Give those, or the run another name' if resumed else 'Give those'
        other = other_encoder(net, options, weights.trained_with, load_path, remedy)
        if other and extent == 'whole':
            raise other
        # what a resumed run has otherwise is said with the rest of its options
        said = str(other) if other else '' if resumed else other_options(options, weights.trained_with, load_path)
        if said:
            warnings.warn(said, stacklevel=2)
        net.load_state_dict(weights.state, strict=False)
        if not self.is_train and option == 'pretrain_network_g' and ranks.rank() == 0:
            self.origin = Origin.of(load_path, weights)
        get_root_logger().info(f'Loading {type(net).__name__} model from {load_path}: {weights.words}')

    def _describe(self, net: nn.Module, label: str, iteration: int) -> network_file.Description:
        encoders = encoders_of(self.get_bare_model(net))
        data = self.opt['datasets']['train']
        stages = data.get('stages') or [data]
        return network_file.Description(
            network=self.opt[label.replace('net_', 'network_', 1)],
            encoders={name: encoder.fingerprint for name, encoder in encoders.items()},
            sampler=(self.opt.get('val') or {}).get('sampler'),
            name=self.opt['name'],
            iteration=self.opt['train']['total_iter'] if iteration == -1 else iteration,
            tasks=list(data.get('tasks') or ()),
            patch_size=stages[-1].get('gt_size') or data.get('gt_size'),
        )

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write what a resumed run needs beside the networks; nothing at the end of training."""
        if current_iter == -1:
            return
        state = {
            'epoch': epoch,
            'iter': current_iter,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'optimizer_types': [type(optimizer).__name__ for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'samples': self._samples,
            'pace': self._pace(),
            'options': kept_options(self.opt),
            'ranks': list(self._of_ranks),
        }
        save_atomic(Path(self.opt['path']['training_states'], f'{current_iter}.state'), state)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a training state; one of BasicSR's own has no random numbers, which a warning says.

        What the options say otherwise than the state counts, and the log names it; with ``train.on_resume: state`` the
        optimizer's arguments and the schedule are those of the state.

        Args:
            resume_state: The state. Its ``epoch`` is set to that of the iteration in this run: with another batch or
                world size epochs have other lengths.

        Raises:
            OptionsError: It is of another optimizer or network.
        """
        logger = get_root_logger()
        done = resume_state['iter']
        self.log_options_file(done)
        for message in [
            *resume_state.get(PASSED_OVER, ()),
            *(changed(*change) for change in option_changes(self.opt, resume_state)),
            *self._load_schedules(resume_state, done),
        ]:
            logger.warning(message)
        data = self.opt['datasets']['train']
        samples = resume_state.get('samples')
        self._samples = samples if samples is not None else data.get('done_samples') or 0
        if data.get('epoch_iters'):
            resume_state['epoch'] = max(done - 1, 0) // data['epoch_iters']
        of_ranks = resume_state.get('ranks', ())
        if len(of_ranks) == ranks.world_size():
            own = of_ranks[ranks.rank()]
            random_state.restore(own['random'])
            self.per_task.load(own['per_task'])
        else:
            logger.warning(
                f'The training state was written by {len(of_ranks) or "an unknown number of"} processes, and this run '
                f'has {ranks.world_size()}: samples go on where they stopped, random numbers of the network do not.'
            )
        self._remove_unfinished()
        if (self.opt.get('val') or {}).get('metrics'):
            self._read_best(resume_state['iter'])

    def log_options_file(self, done: int) -> None:
        """Say which of the options files that gather in the run's folder counts after ``done`` iterations."""
        if self.options_file:
            get_root_logger().info(f'Options of {self.options_file} from iteration {done + 1} on')

    def _load_schedules(self, state: Mapping[str, Any], done: int) -> list[str]:
        """Load optimizers and schedulers; returns a sentence about each option that is another one now."""
        keeps = keeps_state(self.opt['train'])
        kinds = state.get('optimizer_types') or [None] * len(self.optimizers)
        first = [[group['initial_lr'] for group in optimizer.param_groups] for optimizer in self.optimizers]
        messages: list[str] = []
        for saved, kind, optimizer in zip(state['optimizers'], kinds, self.optimizers, strict=True):
            check_optimizer(saved, kind, optimizer)
            messages += load_optimizer(saved, optimizer, keeps)
        changes: list[str] = []
        for saved, scheduler, rates in zip(state['schedulers'], self.schedulers, first, strict=True):
            if keeps:
                check_schedule(saved, type(scheduler).__name__, self.opt['train']['total_iter'])
            lr = self.phases.lr_at(done) or rates[0]
            changes += schedule_changes(saved, scheduler, lr, scheduler.optimizer.param_groups[0]['initial_lr'], keeps)
        pace, before = self._pace(), state.get('pace', self._pace())
        changes += [changed(f'train.{key}', pace[key], before.get(key)) for key in pace if pace[key] != before.get(key)]
        if changes and not keeps:
            replay(self.optimizers, first, done, self._begin_schedules)
        else:
            for saved, scheduler in zip(state['schedulers'], self.schedulers):
                scheduler.load_state_dict(saved)
        return messages + changes

    def _pace(self) -> dict[str, Any]:
        """Give the options that set learning rates beside the schedule."""
        return {key: deepcopy(self.opt['train'].get(key)) for key in ('warmup_iter', 'phases')}

    def _begin_schedules(self, iteration: int) -> None:
        """Set the learning rates of an iteration, by schedule, warm-up and phase."""
        BaseModel.update_learning_rate(self, iteration, self.opt['train'].get('warmup_iter', -1))
        self.phases.set_learning_rate(iteration, self.optimizers, self.schedulers)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Begin a set's record; which way is better is asked of the metric where the options do not say it."""
        super()._initialize_best_metric_results(dataset_name)
        for metric, entry in self.best_metric_results[dataset_name].items():
            options = self.opt['val']['metrics'][metric]
            if entry['iter'] < 0 and 'better' not in options:
                better = better_value(find_metric(options, f'val.metrics.{metric}')) or 'higher'
                entry.update(better=better, val=-math.inf if better == 'higher' else math.inf)

    @master_only
    def remember_best(self) -> None:
        """Write down which iterations were the best so far."""
        content = {
            name: {metric: {**entry, **results.for_json({'val': entry['val']})} for metric, entry in record.items()}
            for name, record in self.best_metric_results.items()
        }
        write_atomic(self._folder() / BEST, (json.dumps(content, indent=1) + '\n').encode())

    def _read_best(self, iteration: int) -> None:
        """Read what was best up to an iteration, by the metrics that are taken now."""
        path = self._folder() / BEST
        known = json.loads(path.read_text()) if path.is_file() else {}
        names = {options['name'] for phase, options in self.opt['datasets'].items() if phase != 'train'}
        for name in names.intersection(known):
            self._initialize_best_metric_results(name)
            for metric, entry in self.best_metric_results[name].items():
                earlier = known[name].get(metric, {'iter': -1})
                if 0 <= earlier['iter'] <= iteration and earlier['better'] == entry['better']:
                    best_of_all = math.inf if entry['better'] == 'higher' else -math.inf
                    entry.update(iter=earlier['iter'], val=best_of_all if earlier['val'] is None else earlier['val'])

    @master_only
    def _remove_unfinished(self) -> None:
        """Delete what a killed run was writing."""
        for name in ('models', 'training_states'):
            for path in Path(self.opt['path'][name]).glob(UNFINISHED):
                path.unlink()

    @master_only
    def _delete_old(self) -> None:
        keep = self.opt['logger'].get('keep_last')
        if not keep:
            return
        files = [path for name in ('models', 'training_states') for path in Path(self.opt['path'][name]).iterdir()]
        by_iteration: dict[int, list[Path]] = {}
        for path in files:
            match = ITERATION.fullmatch(path.name)
            if match:
                by_iteration.setdefault(int(match[1]), []).append(path)
        records = getattr(self, 'best_metric_results', {}).values()
        best = {entry['iter'] for record in records for entry in record.values()}
        for iteration in sorted(by_iteration)[: -int(keep)]:
            for path in by_iteration[iteration]:
                # the state is of no use where only the network is wanted
                if iteration not in best or path.suffix == '.state':
                    path.unlink()

    def _folder(self) -> Path:
        return Path(self.opt['path']['models'])


def _on_cpu(net: nn.Module) -> dict[str, Tensor]:
    """Give a network's state dict on the CPU; a tensor that stands there under two names is copied, and saved, once."""
    copies: dict[tuple[Any, ...], Tensor] = {}
    state = {}
    for name, value in net.state_dict().items():
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if place not in copies:
            copies[place] = value.cpu()
        state[name] = copies[place]
    return state
