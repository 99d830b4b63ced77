"""Building, once and for trial, what an options file describes: networks, losses, data sets, optimizer, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from dinoir_plugin.archs.dinoir_arch import DINOIRArch
from dinoir_plugin.construct import check_arguments, construct
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.errors import OptionsError, nearest, under
from dinoir_plugin.models.optimizer import make_optimizer


def check_builds(opt: Mapping[str, Any], is_train: bool) -> None:
    """Build each part of a run and look at the headers of its pictures.

    Args:
        opt: BasicSR's options, parsed; not changed.
        is_train: Whether they are for train.py or for test.py.

    Raises:
        OptionsError: For the first part that cannot be built, with the option's full path.
    """
    opt = deepcopy(dict(opt))
    _check_devices(opt['num_gpu'])
    _check_files(opt['path'])
    _check_metrics((opt.get('val') or {}).get('metrics') or {})
    for phase, options in opt['datasets'].items():
        _check_dataset(options, f'datasets.{phase}')
    with torch.random.fork_rng(devices=[]):
        network = _check_network(opt['network_g'])
    if is_train:
        _check_train(opt['train'], network)


def _check_devices(num_gpu: int) -> None:
    available = torch.cuda.device_count()
    if num_gpu > available:
        raise OptionsError(
            'num_gpu', f'{num_gpu} asked for, but {available} found', 'Write num_gpu: auto, or 0 for the CPU'
        )


def _check_files(paths: Mapping[str, Any]) -> None:
    for key in ('pretrain_network_g', 'resume_state'):
        if paths.get(key) is not None and not Path(paths[key]).expanduser().is_file():
            raise OptionsError(f'path.{key}', f"there is no file '{paths[key]}'")


def _check_dataset(options: Mapping[str, Any], path: str) -> None:
    _require_registered(DATASET_REGISTRY, options, path)
    # data sets of BasicSR itself check nothing that could be asked of them here
    if options['type'] == MixedDegradationDataset.__name__:
        with under(path):
            MixedDegradationDataset(options).check_images()


def _check_network(options: Mapping[str, Any]) -> torch.nn.Module:
    _require_registered(ARCH_REGISTRY, options, 'network_g')
    arguments = {key: value for key, value in options.items() if key != 'type'}
    with under('network_g'):
        if options['type'] == DINOIRArch.__name__:
            check_arguments(DINOIRArch, '', arguments)
            # not by BasicSR's build_network, whose first log line would set up the run's logger without its file
            return DINOIRArch(**arguments)
    return construct(ARCH_REGISTRY.get(options['type']), 'network_g', arguments)


def _check_train(train: dict[str, Any], network: torch.nn.Module) -> None:
    optimizer = dict(train['optim_g'])
    weight = torch.zeros(1, requires_grad=True)
    built = make_optimizer(optimizer.pop('type', None), [weight], **optimizer)
    schedulers = {'MultiStepLR': 'MultiStepRestartLR'}
    scheduler = dict(train['scheduler'])
    kind = str(scheduler.pop('type', None))
    names = [*schedulers, 'MultiStepRestartLR', 'CosineAnnealingRestartLR']
    if kind not in names:
        raise OptionsError('train.scheduler.type', f"BasicSR has no scheduler '{kind}'", nearest(kind, names))
    construct(getattr(lr_scheduler, schedulers.get(kind, kind)), 'train.scheduler', scheduler, optimizer=built)
    for key in ('pixel_opt', 'perceptual_opt', 'dpc_opt'):
        if train.get(key) is not None:
            _check_loss(dict(train[key]), f'train.{key}', network)


def _check_loss(options: dict[str, Any], path: str, network: torch.nn.Module) -> None:
    _require_registered(LOSS_REGISTRY, options, path)
    kind = LOSS_REGISTRY.get(options.pop('type'))
    if path == 'train.dpc_opt' and options.get('encoder') is None and isinstance(network, DINOIRArch):
        options['encoder'] = network.encoder
    # the perceptual loss downloads VGG when built: its arguments are checked, itself it is built by the trainer
    check: Callable[..., Any] = check_arguments if path == 'train.perceptual_opt' else construct
    check(kind, path, options)


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    for name, options in metrics.items():
        path = f'val.metrics.{name}'
        if not isinstance(options, Mapping):
            raise OptionsError(path, f'expected a block of options, got {options!r}')
        _require_registered(METRIC_REGISTRY, options, path)
        arguments = {key: value for key, value in options.items() if key not in ('type', 'better')}
        check_arguments(METRIC_REGISTRY.get(options['type']), path, arguments, img=None, img2=None)


def _require_registered(registry: Any, options: Mapping[str, Any], path: str) -> None:
    kind = options.get('type')
    if kind not in registry:
        raise OptionsError(f'{path}.type', f"nothing is registered as '{kind}'", nearest(str(kind), registry.keys()))
