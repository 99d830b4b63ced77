"""Building, once and for trial, what an options file describes: data sets, network, losses, optimizer, metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    MODEL_REGISTRY,
)
from torch import nn

from dinoir_plugin.core.construct import check_arguments, construct, look_up, registered
from dinoir_plugin.core.errors import OptionsError, nearest, under
from dinoir_plugin.core.tiles import check_tile
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.inference.tiling import DEFAULT_OVERLAP
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.models.optimizer import make_optimizer
from dinoir_plugin.preflight.check_item import CheckItem, check_loss, is_ours
from dinoir_plugin.preflight.metric_options import check_metrics
from dinoir_plugin.preflight.network_parts import network_parts

HOST_LOSSES = ('pixel_opt', 'perceptual_opt')
SCHEDULERS = {
    'MultiStepLR': lr_scheduler.MultiStepRestartLR,
    'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
    'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR,
}


def check_builds(opt: Mapping[str, Any], is_train: bool) -> None:
    """Build each part of a run and look at the headers of its images.

    Args:
        opt: BasicSR's options, parsed; not changed.
        is_train: Whether they are for train.py or for test.py.

    Raises:
        OptionsError: For the first part that cannot be built, with the option's full path.
    """
    opt = deepcopy(dict(opt))
    for part in host_parts(opt):
        part.check()
    for phase, options in opt['datasets'].items():
        check_dataset(options, f'datasets.{phase}')
    for part in plain_parts(opt, is_train):
        part.check()
    if builds_network(opt):
        network = build_network(opt)
        for part in network_parts(opt, is_train):
            part.check(network)


def builds_network(opt: Mapping[str, Any]) -> bool:
    """Whether the run's network is built for trial."""
    return is_ours(opt) or (opt.get('network_g') or {}).get('type') == DINOIRArch.__name__


def host_parts(opt: Mapping[str, Any]) -> list[CheckItem]:
    """Which model drives the run, the GPUs, and the names of data sets."""
    return [
        CheckItem('model_type', lambda: _check_model(opt)),
        CheckItem('num_gpu', lambda: _check_devices(opt)),
        CheckItem('datasets', lambda: _check_names(opt['datasets'])),
    ]


def plain_parts(opt: Mapping[str, Any], is_train: bool) -> list[CheckItem]:
    """What our model reads and what can be built without the network: validation, optimizer, losses of the host."""
    parts = []
    if is_ours(opt) and opt.get('val'):
        parts.append(CheckItem('val', lambda: _check_validation(opt['val'])))
    if is_ours(opt) and is_train:
        train = opt.get('train') or {}
        parts += [
            CheckItem('train.optim_g', lambda: _check_optimizer(train)),
            CheckItem('train.scheduler', lambda: _check_scheduler(train)),
        ]
        parts += [_loss_part(train, key) for key in HOST_LOSSES if train.get(key) is not None]
        if (opt.get('logger') or {}).get('keep_last') and opt.get('val'):
            parts.append(CheckItem('logger.keep_last', lambda: _check_kept(opt['logger'], opt['val'])))
    return parts


def _check_kept(logger: Mapping[str, Any], val: Mapping[str, Any]) -> str:
    """Warns where iterations are judged that are not saved."""
    validated, saved = val.get('val_freq'), logger.get('save_checkpoint_freq')
    if validated and saved and validated % saved:
        warnings.warn(
            f'logger.keep_last: the best network is kept only where it was saved, and val.val_freq ({validated}) is no '
            f'multiple of logger.save_checkpoint_freq ({saved})', stacklevel=2,
        )  # fmt: skip
    return f'the last {logger["keep_last"]}, and the best'


def _check_model(opt: Mapping[str, Any]) -> str:
    return str(look_up(MODEL_REGISTRY, opt.get('model_type'), 'model_type').__name__)


def _check_devices(opt: Mapping[str, Any]) -> str:
    available = torch.cuda.device_count()
    # under a launcher each process takes one GPU, whatever the number says
    if opt.get('dist'):
        if opt['num_gpu'] == 0 and available:
            problem = 'a launcher uses the GPUs that it finds, but 0 are asked for'
            raise OptionsError('num_gpu', problem, 'Hide them with CUDA_VISIBLE_DEVICES= or write num_gpu: auto')
    elif opt['num_gpu'] != 'auto' and opt['num_gpu'] > available:
        problem = f'{opt["num_gpu"]} asked for, but {available} found'
        raise OptionsError('num_gpu', problem, 'Write num_gpu: auto, or 0 for the CPU')
    return f'{opt["num_gpu"]} asked for, {available} found'


def _check_names(datasets: Mapping[str, Any]) -> str:
    """Figures and images of validation go by the data set's name."""
    named: dict[Any, str] = {}
    for phase, options in datasets.items():
        name = options.get('name')
        if phase != 'train' and name in named:
            problem = f'datasets.{named[name]} has this name, too, and one would overwrite the figures of the other'
            raise OptionsError(f'datasets.{phase}.name', problem, 'Give it another')
        if phase != 'train':
            named[name] = phase
    return ', '.join(datasets)


def check_dataset(options: dict[str, Any], path: str) -> None:
    """Open a data set and look at the headers of its images, where it is ours; OptionsError as above."""
    if check_loading(options, path):
        with under(path):
            MixedDegradationDataset(options).check_images()


def check_loading(options: Mapping[str, Any], path: str) -> bool:
    """Check what BasicSR's loaders read of a data set's options, not the data set.

    Returns:
        Whether it is a MixedDegradationDataset; others check nothing that could be asked of them here.
    """
    kind = registered(DATASET_REGISTRY, options, path)
    if path == 'datasets.train':
        _check_loader(options, path)
    return kind is MixedDegradationDataset


def _check_loader(options: Mapping[str, Any], path: str) -> None:
    """What BasicSR's build_dataloader and prefetchers read."""
    for key, least in (('batch_size_per_gpu', 1), ('num_worker_per_gpu', 0)):
        value = options.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise OptionsError(f'{path}.{key}', f'expected a whole number from {least}, got {value!r}')
    mode = options.get('prefetch_mode')
    if mode not in (None, 'cpu', 'cuda'):
        raise OptionsError(f'{path}.prefetch_mode', f'expected cpu, cuda or nothing, got {mode!r}')
    if mode == 'cuda' and options.get('pin_memory') is not True:
        raise OptionsError(f'{path}.pin_memory', 'prefetch_mode: cuda needs pin_memory: true')
    if options.get('persistent_workers') and not options['num_worker_per_gpu']:
        raise OptionsError(f'{path}.persistent_workers', 'there are no workers that could stay', 'Remove it')


def build_network(opt: Mapping[str, Any]) -> nn.Module:
    """The run's network on the CPU, with its encoder's weights; OptionsError where it cannot be built."""
    options = opt.get('network_g') or {}
    kind = registered(ARCH_REGISTRY, options, 'network_g')
    # not by BasicSR's build_network, whose first log line would set up the run's logger without its file
    with torch.random.fork_rng(devices=[]):
        return construct(kind, 'network_g', {key: value for key, value in options.items() if key != 'type'})


def _check_optimizer(train: Mapping[str, Any]) -> str:
    options = dict(train['optim_g'])
    if 'lr' not in options:
        raise OptionsError('train.optim_g.lr', 'this key is required, but missing')
    kind = options.pop('type', None)
    make_optimizer(kind, [torch.zeros(1, requires_grad=True)], **options)
    return f'{kind}, lr {options["lr"]}'


def _check_scheduler(train: Mapping[str, Any]) -> str:
    options = dict(train['scheduler'])
    kind = str(options.pop('type', None))
    if kind not in SCHEDULERS:
        raise OptionsError('train.scheduler.type', f"BasicSR has no scheduler '{kind}'", nearest(kind, SCHEDULERS))
    # the optimizer has checks of its own
    stand_in = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    construct(SCHEDULERS[kind], 'train.scheduler', options, optimizer=stand_in)
    if 'periods' in options and sum(options['periods']) < train['total_iter']:
        problem = f'they add up to {sum(options["periods"])}, but total_iter is {train["total_iter"]}'
        raise OptionsError('train.scheduler.periods', problem, 'Let them cover the run')
    return kind


def _loss_part(train: Mapping[str, Any], key: str) -> CheckItem:
    path = f'train.{key}'
    # the perceptual loss downloads VGG when built: its arguments are checked, itself it is built by the trainer
    check: Callable[..., Any] = check_arguments if key == 'perceptual_opt' else construct
    return CheckItem(path, lambda: check_loss(dict(train[key]), path, check))


def _check_validation(options: Mapping[str, Any]) -> str:
    metrics = options.get('metrics') or {}
    check_metrics(metrics)
    if 'tile' in options:
        try:
            check_tile(options['tile'], options.get('tile_overlap', DEFAULT_OVERLAP))
        except ValueError as error:
            raise OptionsError('val.tile_overlap', str(error)) from error
    return f'metrics: {", ".join(metrics) or "none"}'
