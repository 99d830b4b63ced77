"""Going on with optimizers and schedules where the options may say something else than the checkpoint."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.written import plain

# of a parameter group: what the schedule sets, and how it is computed rather than what
SCHEDULED = ('params', 'lr', 'initial_lr')
COMPUTING = ('foreach', 'fused', 'capturable', 'differentiable')
# of a scheduler: where it is, and what follows from other entries
PLACE = ('last_epoch', 'verbose', 'base_lrs', 'cumulative_period')
OPTION = 'train.optim_g'
# BasicSR's schedulers by an entry of their state
SCHEDULERS = {
    'milestones': ('MultiStepLR', 'MultiStepRestartLR'),
    'periods': ('CosineAnnealingRestartLR',),
}
# of an options file: what is compared with the parts of a state itself, and what changes nothing that is learned
COMPARED = ('optim_g', 'scheduler', 'phases', 'warmup_iter', 'total_iter', 'on_resume')
OF_LOADING = ('name', 'phase', 'scale', 'epoch_iters', 'done_iters', 'done_samples', 'done_ranks', 'pin_memory',
              'num_worker_per_gpu', 'persistent_workers', 'prefetch_mode', 'num_prefetch_queue', 'on_error')
# of the network: where its encoders' weights are read from; whether they are the same tell their fingerprints
OF_PLACES = 'network_g', 'weights'


def check_optimizer(saved: Mapping[str, Any], kind: str | None, optimizer: Optimizer) -> None:
    """Refuse an optimizer that cannot go on from what another one has kept.

    Args:
        saved: Its state in the checkpoint.
        kind: The class that it was of; None where the checkpoint does not say it.
        optimizer: As the options make it, not yet used.

    Raises:
        OptionsError: It is another optimizer, or one of another network.
    """
    counts = [[len(group['params']) for group in groups] for groups in (saved['param_groups'], optimizer.param_groups)]
    if counts[0] != counts[1]:
        problem = f'the checkpoint was written with {counts[0]} tensors to train, and the network has {counts[1]}'
        raise OptionsError(OPTION, problem, 'Give the options that it was trained with, or the run another name')
    entries: dict[str, Any] = next(iter(saved['state'].values()), {})
    kept = {key for key, value in entries.items() if value is not None}
    own = type(optimizer).__name__
    if not kept or (_keys(optimizer, {}) == kept if kind != own else _keys(optimizer, kept) is not None):
        return
    before = f'with {kind}' if kind not in (None, own) else f'with an optimizer that keeps {", ".join(sorted(kept))}'
    problem = f'the checkpoint was written {before}, from which {own} with these options cannot go on'
    raise OptionsError(OPTION, problem, 'Give the optimizer that it was written with; another one takes a run of '
                       'another name with the weights as path.pretrain_network_g')


def keeps_state(train: Mapping[str, Any]) -> bool:
    """Tell whether the checkpoint's optimizer and schedule count where the options say something else."""
    return train.get('on_resume') == 'state'


def check_schedule(saved: Mapping[str, Any], kind: str | None, total_iter: int) -> None:
    """Refuse options with which a run cannot go on by the checkpoint's schedule.

    Args:
        saved: The scheduler's state in the checkpoint.
        kind: What the options name, or the name of its class.
        total_iter: Length of the run.

    Raises:
        OptionsError: They name another scheduler, or more iterations than that one has periods for.
    """
    names = next((names for key, names in SCHEDULERS.items() if key in saved), (kind,))
    if kind not in names:
        problem = f'train.on_resume: state goes on with the {names[0]} of the checkpoint, got {kind}'
        raise OptionsError('train.scheduler.type', problem, 'Give that one, or train.on_resume: options')
    periods = saved.get('periods')
    if periods and sum(periods) < total_iter:
        problem = f'the schedule of the checkpoint ends after {sum(periods)} iterations, got {total_iter}'
        raise OptionsError('train.total_iter', problem, 'Give no more, or train.on_resume: options')


def load_optimizer(saved: Mapping[str, Any], optimizer: Optimizer, keeps: bool = False) -> Iterator[str]:
    """Load what an optimizer has kept, with the options' own weight decay and the like.

    Args:
        saved: Its state in the checkpoint.
        optimizer: As the options make it.
        keeps: Whether the weight decay and the like of the checkpoint count instead.

    Yields:
        A sentence about each option that is another one now.
    """
    own = [dict(group) for group in optimizer.param_groups]
    groups = []
    for old, group in zip(saved['param_groups'], own):
        taken = {key: value for key, value in group.items() if key not in SCHEDULED}
        groups.append({**taken, **old} if keeps else {**old, **taken})
        for key, value in taken.items():
            if key in old and key not in COMPUTING and not _same(old[key], value):
                yield changed(f'{OPTION}.{key}', value, old[key], keeps)
    optimizer.load_state_dict({**saved, 'param_groups': groups})


def schedule_changes(
    saved: Mapping[str, Any], scheduler: Any, lr: float, old_lr: float, keeps: bool = False
) -> list[str]:
    """Say what of a schedule is another one in the options than in the checkpoint.

    Args:
        saved: The scheduler's state in the checkpoint.
        scheduler: As the options make it.
        lr: The learning rate that the options begin with, or the last phase with one of its own.
        old_lr: That of the checkpoint.
        keeps: Whether the checkpoint's schedule counts.
    """
    own, old = (_of_schedule(state) for state in (scheduler.state_dict(), saved))
    found = [changed(f'{OPTION}.lr', lr, old_lr, keeps)] if lr != old_lr else []
    if own.keys() != old.keys():
        kinds = [', '.join(sorted(state)) for state in (own, old)]
        return [*found, changed('train.scheduler', f'one with {kinds[0]}', f'one with {kinds[1]}')]
    return found + [
        changed(f'train.scheduler.{key}', own[key], old[key], keeps) for key in own if own[key] != old[key]
    ]


def replay(optimizers: Sequence[Optimizer], lrs: Sequence[Sequence[float]], done: int,
           begin: Callable[[int], None]) -> None:
    """Bring new schedules to where they would be after ``done`` iterations.

    Args:
        optimizers: Theirs.
        lrs: The learning rate of each parameter group of each of them at the start.
        done: Iterations.
        begin: Begins an iteration, counted from 1, as training does.
    """
    for optimizer, rates in zip(optimizers, lrs):
        for group, rate in zip(optimizer.param_groups, rates):
            group['lr'] = group['initial_lr'] = rate
    with warnings.catch_warnings():
        # torch misses the optimizer's steps
        warnings.simplefilter('ignore', UserWarning)
        for iteration in range(1, done + 1):
            begin(iteration)


def kept_options(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what tells how a run trains, for its training state: plain values by the option's path."""
    data = {key: value for key, value in opt['datasets']['train'].items() if key not in OF_LOADING}
    train = {key: value for key, value in opt['train'].items() if key not in COMPARED}
    kept = {'datasets': {'train': data}, 'network_g': opt['network_g'], 'train': train}
    if data.get('seed') is not None and data['seed'] == opt.get('manual_seed'):
        kept['manual_seed'] = data.pop('seed')
    return dict(_flat(kept, ''))


def option_changes(opt: Mapping[str, Any], state: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """List what :func:`kept_options` has otherwise than a training state: path, value and that of the checkpoint.

    An older state, without them, gives nothing.
    """
    options, old = kept_options(opt), state.get('options', {})
    for path in dict.fromkeys([*options, *old]) if old else ():
        if not _same(options.get(path), old.get(path)):
            yield path, options.get(path), old.get(path)


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not (path.startswith(OF_PLACES[0]) and key == OF_PLACES[1]):
                yield from _flat(entry, f'{path}.{key}' if path else str(key))
    else:
        yield path, plain(value)


def changed(path: str, value: Any, old: Any, keeps: bool = False) -> str:
    """Say that an option is another one than in the checkpoint, and which of them counts: with ``keeps`` the latter."""
    value, old = (list(one) if isinstance(one, tuple) else one for one in (value, old))
    counts = 'The checkpoint counts (train.on_resume: state).' if keeps else 'What the file says counts from here on.'
    return f'{path}: {value!r} in the options file, {old!r} in the checkpoint. {counts}'


def _same(one: Any, other: Any) -> bool:
    """Compare two values; YAML has lists where torch's defaults are tuples."""
    lists = isinstance(one, (list, tuple)) and isinstance(other, (list, tuple))
    return list(one) == list(other) if lists else bool(one == other)


def _of_schedule(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: sorted(value.elements()) if isinstance(value, Counter) else value
        for key, value in state.items()
        if key not in PLACE and not key.startswith('_')
    }


def _keys(optimizer: Optimizer, kept: Iterable[str]) -> set[str] | None:
    """Name what an optimizer of this kind keeps of a parameter, seen after a step on a small one.

    Args:
        optimizer: It.
        kept: What is there before the step.

    Returns:
        None where it does not make a step from that.
    """
    probe = torch.zeros(2, 2, requires_grad=True)
    group = {key: value for key, value in optimizer.param_groups[0].items() if key not in COMPUTING}
    twin: Any = type(optimizer)
    try:
        small = twin([{**group, 'params': [probe]}], lr=group['lr'])
        small.state[probe] = {key: torch.ones(()) if key == 'step' else torch.ones(2, 2) for key in kept}
        probe.grad = torch.ones_like(probe)
        small.step()
    # what an optimizer raises for an entry that is missing is its own affair
    except Exception:  # noqa: BLE001 - whatever it is, it cannot go on
        return None
    return {key for key, value in small.state[probe].items() if value is not None}
