"""Building, once and for trial, what an options file describes: data sets, network, losses, optimizer, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)
from torch import nn

from dinoir_plugin.archs.dinoir_arch import DINOIRArch
from dinoir_plugin.construct import check_arguments, construct, look_up, registered
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.errors import OptionsError, nearest, under
from dinoir_plugin.losses.dpc_loss import DPCLoss
from dinoir_plugin.models.acceleration import prepare
from dinoir_plugin.models.dinoir_model import DINOIRModel
from dinoir_plugin.models.optimizer import make_optimizer
from dinoir_plugin.modules.tiling import DEFAULT_OVERLAP, check_tile
from dinoir_plugin.preflight.checkpoint import check_checkpoint, check_file

TRIAL_SIDE = 64
SCHEDULERS = {
    'MultiStepLR': lr_scheduler.MultiStepRestartLR,
    'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
    'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR,
}


def check_builds(opt: Mapping[str, Any], is_train: bool) -> None:
    """Build each part of a run and look at the headers of its pictures.

    Args:
        opt: BasicSR's options, parsed; not changed.
        is_train: Whether they are for train.py or for test.py.

    Raises:
        OptionsError: For the first part that cannot be built, with the option's full path.
    """
    opt = deepcopy(dict(opt))
    model = look_up(MODEL_REGISTRY, opt.get('model_type'), 'model_type')
    _check_devices(opt)
    for phase, options in opt['datasets'].items():
        _check_dataset(options, f'datasets.{phase}')
    # what a model of somebody else's reads from its options is not known here
    ours = model is DINOIRModel
    if ours:
        _check_validation(opt.get('val') or {})
    if ours or (opt.get('network_g') or {}).get('type') == DINOIRArch.__name__:
        with torch.random.fork_rng(devices=[]):
            network = _check_network(opt['network_g'])
        _check_paths(opt, network)
        if any(options['type'] == MixedDegradationDataset.__name__ for options in opt['datasets'].values()):
            _check_scale(network)
    if ours and is_train:
        _check_train(opt['train'], network)
        _check_acceleration(opt['train'], network, opt['num_gpu'])


def _check_devices(opt: Mapping[str, Any]) -> None:
    available = torch.cuda.device_count()
    # under a launcher each process takes one GPU, whatever the number says
    if opt.get('dist'):
        if opt['num_gpu'] == 0 and available:
            problem = 'a launcher uses the GPUs that it finds, but 0 are asked for'
            raise OptionsError('num_gpu', problem, 'Hide them with CUDA_VISIBLE_DEVICES= or write num_gpu: auto')
    elif opt['num_gpu'] != 'auto' and opt['num_gpu'] > available:
        problem = f'{opt["num_gpu"]} asked for, but {available} found'
        raise OptionsError('num_gpu', problem, 'Write num_gpu: auto, or 0 for the CPU')


def _check_dataset(options: dict[str, Any], path: str) -> None:
    kind = registered(DATASET_REGISTRY, options, path)
    if path == 'datasets.train':
        _check_loader(options, path)
    # data sets of BasicSR itself check nothing that could be asked of them here
    if kind is MixedDegradationDataset:
        with under(path):
            MixedDegradationDataset(options).check_images()


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


def _check_network(options: Mapping[str, Any]) -> nn.Module:
    kind = registered(ARCH_REGISTRY, options, 'network_g')
    # not by BasicSR's build_network, whose first log line would set up the run's logger without its file
    return construct(kind, 'network_g', {key: value for key, value in options.items() if key != 'type'})


def _check_scale(network: nn.Module) -> None:
    """Degraded and target of our data set have one size, so the network has to keep it."""
    image = torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE)
    with torch.no_grad():
        shape = network.eval()(image).shape
    if shape != image.shape:
        problem = f'the network turns {TRIAL_SIDE}x{TRIAL_SIDE} pixels into {tuple(shape)}'
        raise OptionsError(
            'network_g', f'{problem}, but MixedDegradationDataset wants the same size', 'Set its upscale to 1'
        )


def _check_paths(opt: Mapping[str, Any], network: nn.Module) -> None:
    paths = opt['path']
    resumes = opt.get('auto_resume') or paths.get('resume_state')
    if paths.get('resume_state') and not opt.get('auto_resume'):
        check_file(paths['resume_state'], 'path.resume_state')
    # a resumed run takes its own network, not the pretrained one
    if paths.get('pretrain_network_g') and not resumes:
        key, strict = paths.get('param_key_g', 'params'), paths.get('strict_load_g', True)
        check_checkpoint(paths['pretrain_network_g'], key, strict, network)


def _check_train(train: dict[str, Any], network: nn.Module) -> None:
    optimizer, scheduler = dict(train['optim_g']), dict(train['scheduler'])
    if 'lr' not in optimizer:
        raise OptionsError('train.optim_g.lr', 'this key is required, but missing')
    weight = torch.zeros(1, requires_grad=True)
    built = make_optimizer(optimizer.pop('type', None), [weight], **optimizer)
    kind = str(scheduler.pop('type', None))
    if kind not in SCHEDULERS:
        raise OptionsError('train.scheduler.type', f"BasicSR has no scheduler '{kind}'", nearest(kind, SCHEDULERS))
    construct(SCHEDULERS[kind], 'train.scheduler', scheduler, optimizer=built)
    if 'periods' in scheduler and sum(scheduler['periods']) < train['total_iter']:
        problem = f'they add up to {sum(scheduler["periods"])}, but total_iter is {train["total_iter"]}'
        raise OptionsError('train.scheduler.periods', problem, 'Let them cover the run')
    for key in ('pixel_opt', 'perceptual_opt', 'dpc_opt'):
        if train.get(key) is not None:
            _check_loss(dict(train[key]), f'train.{key}', network)


def _check_acceleration(train: Mapping[str, Any], network: nn.Module, num_gpu: object) -> None:
    on_gpu = num_gpu != 0 and torch.cuda.is_available()
    if train.get('amp') == 'bf16' and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        problem = f'{torch.cuda.get_device_name()} does not compute in bf16'
        raise OptionsError('train.amp', problem, 'Write amp: fp16')
    with under('train'):
        prepare(network, train)


def _check_loss(options: dict[str, Any], path: str, network: nn.Module) -> None:
    kind = registered(LOSS_REGISTRY, options, path)
    del options['type']
    if path == 'train.dpc_opt':
        if kind is not DPCLoss:
            raise OptionsError(f'{path}.type', f'expected DPCLoss, got {kind.__name__}')
        if options.get('encoder') is None and isinstance(network, DINOIRArch):
            options['encoder'] = network.encoder
    # the perceptual loss downloads VGG when built: its arguments are checked, itself it is built by the trainer
    check: Callable[..., Any] = check_arguments if path == 'train.perceptual_opt' else construct
    check(kind, path, options)


def _check_validation(options: Mapping[str, Any]) -> None:
    _check_metrics(options.get('metrics') or {})
    if 'tile' in options:
        try:
            check_tile(options['tile'], options.get('tile_overlap', DEFAULT_OVERLAP))
        except ValueError as error:
            raise OptionsError('val.tile_overlap', str(error)) from error


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    for name, options in metrics.items():
        path = f'val.metrics.{name}'
        if not isinstance(options, Mapping):
            raise OptionsError(path, f'expected a block of options, got {options!r}')
        kind = registered(METRIC_REGISTRY, options, path)
        arguments = {key: value for key, value in options.items() if key not in ('type', 'better')}
        # BasicSR's metrics take any keyword, and would leave a misspelt one without effect
        check_arguments(kind, path, arguments, swallows=False, img=None, img2=None)
