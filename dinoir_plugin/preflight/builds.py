"""Building, once and for trial, what an options file describes: data sets, network, losses, optimizer, metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
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
from dinoir_plugin.preflight.metric_options import check_metrics

TRIAL_SIDE = 64
# by how much patches may be enlarged or made smaller for the encoder, which sees test pictures nearly as they are
PATCH_SCALE = 1.2
HOST_LOSSES = ('pixel_opt', 'perceptual_opt')
SCHEDULERS = {
    'MultiStepLR': lr_scheduler.MultiStepRestartLR,
    'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
    'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR,
}


class Part(NamedTuple):
    """One part of a run that can be checked by itself.

    Attributes:
        path: The options that it is about.
        check: Raises an OptionsError where something is wrong; returns a few words on what it looked at. Those of
            `network_parts` take the network.
    """

    path: str
    check: Callable[..., str]


def check_builds(opt: Mapping[str, Any], is_train: bool) -> None:
    """Build each part of a run and look at the headers of its pictures.

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


def is_ours(opt: Mapping[str, Any]) -> bool:
    """Whether our model drives the run; what a model of somebody else's reads from its options is not known here."""
    return opt.get('model_type') == DINOIRModel.__name__


def builds_network(opt: Mapping[str, Any]) -> bool:
    """Whether the run's network is built for trial."""
    return is_ours(opt) or (opt.get('network_g') or {}).get('type') == DINOIRArch.__name__


def host_parts(opt: Mapping[str, Any]) -> list[Part]:
    """Which model drives the run, and the GPUs."""
    return [Part('model_type', lambda: _check_model(opt)), Part('num_gpu', lambda: _check_devices(opt))]


def plain_parts(opt: Mapping[str, Any], is_train: bool) -> list[Part]:
    """What our model reads and what can be built without the network: validation, optimizer, losses of the host."""
    parts = []
    if is_ours(opt) and opt.get('val'):
        parts.append(Part('val', lambda: _check_validation(opt['val'])))
    if is_ours(opt) and is_train:
        train = opt.get('train') or {}
        parts += [
            Part('train.optim_g', lambda: _check_optimizer(train)),
            Part('train.scheduler', lambda: _check_scheduler(train)),
        ]
        parts += [_loss_part(train, key) for key in HOST_LOSSES if train.get(key) is not None]
    return parts


def network_parts(opt: Mapping[str, Any], is_train: bool) -> list[Part]:
    """What depends on the network: checkpoints, its scale, the DPC loss, acceleration."""
    parts = _path_parts(opt)
    if any(options.get('type') == MixedDegradationDataset.__name__ for options in opt['datasets'].values()):
        parts.append(Part('network_g: output size', _check_scale))
    if is_train and (opt.get('network_g') or {}).get('type') == DINOIRArch.__name__:
        data = opt['datasets']['train']
        parts.append(Part('datasets.train.gt_size', lambda network: _check_patches(data, network)))
    if is_ours(opt) and is_train:
        train = opt.get('train') or {}
        if train.get('dpc_opt') is not None:
            parts.append(Part('train.dpc_opt', lambda network: _check_dpc(dict(train['dpc_opt']), network)))
        parts.append(Part('train', lambda network: _check_acceleration(train, network, opt['num_gpu'])))
    return parts


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


def check_dataset(options: dict[str, Any], path: str) -> None:
    """Open a data set and look at the headers of its pictures, where it is ours; OptionsError as above."""
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


def _check_scale(network: nn.Module) -> str:
    """Degraded and target of our data set have one size, so the network has to keep it."""
    image = torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE)
    with torch.no_grad():
        shape = network.eval()(image).shape
    if shape != image.shape:
        problem = f'the network turns {TRIAL_SIDE}x{TRIAL_SIDE} pixels into {tuple(shape)}'
        raise OptionsError(
            'network_g', f'{problem}, but MixedDegradationDataset wants the same size', 'Set its upscale to 1'
        )
    return f'a trial run on {TRIAL_SIDE}x{TRIAL_SIDE} pixels'


def _check_patches(data: Mapping[str, Any], network: Any) -> str:
    """Warns where the encoder meets things in another size in training than in tests."""
    sizes = {stage.get('gt_size', data.get('gt_size')) for stage in data.get('stages') or [data]}
    found = []
    for side in sorted(size for size in sizes if isinstance(size, int)):
        taken = network.encoder.taken_side(side)
        found.append(f'{side} px' if taken == side else f'{side} px, {taken} px for the encoder')
        if max(side, taken) > PATCH_SCALE * min(side, taken):
            problem = f'the encoder takes patches of {side} px as {taken} px, and whole pictures nearly as they are'
            warnings.warn(f'datasets.train.gt_size: {problem}. {taken} suits it better', stacklevel=2)
    return '; '.join(found)


def _path_parts(opt: Mapping[str, Any]) -> list[Part]:
    paths = opt['path']
    parts = []
    if paths.get('resume_state') and not opt.get('auto_resume'):
        parts.append(Part('path.resume_state', lambda network: _check_resume_state(paths['resume_state'])))
    # a resumed run takes its own network, not the pretrained one
    if paths.get('pretrain_network_g') and not (opt.get('auto_resume') or paths.get('resume_state')):
        parts.append(Part('path.pretrain_network_g', lambda network: _check_pretrained(paths, network)))
    return parts


def _check_resume_state(path: str) -> str:
    return f'{path}, iteration {check_file(path, "path.resume_state").get("iter")}'


def _check_pretrained(paths: Mapping[str, Any], network: nn.Module) -> str:
    key, strict = paths.get('param_key_g', 'params'), paths.get('strict_load_g', True)
    check_checkpoint(paths['pretrain_network_g'], key, strict, network)
    return f'{paths["pretrain_network_g"]}, {key}{"" if strict else ", not strict"}'


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


def _check_acceleration(train: Mapping[str, Any], network: nn.Module, num_gpu: object) -> str:
    on_gpu = num_gpu != 0 and torch.cuda.is_available()
    if train.get('amp') == 'bf16' and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        problem = f'{torch.cuda.get_device_name()} does not compute in bf16'
        raise OptionsError('train.amp', problem, 'Write amp: fp16')
    with under('train'):
        prepare(network, train)
    # YAML reads a bare `off` as false
    return f'{train["total_iter"]} iterations, amp {train.get("amp") or "off"}'


def _loss_part(train: Mapping[str, Any], key: str) -> Part:
    path = f'train.{key}'
    # the perceptual loss downloads VGG when built: its arguments are checked, itself it is built by the trainer
    check: Callable[..., Any] = check_arguments if key == 'perceptual_opt' else construct
    return Part(path, lambda: _check_loss(dict(train[key]), path, check))


def _check_loss(options: dict[str, Any], path: str, check: Callable[..., Any]) -> str:
    kind = registered(LOSS_REGISTRY, options, path)
    del options['type']
    check(kind, path, options)
    return str(kind.__name__)


def _check_dpc(options: dict[str, Any], network: nn.Module) -> str:
    path = 'train.dpc_opt'
    kind = registered(LOSS_REGISTRY, options, path)
    if kind is not DPCLoss:
        raise OptionsError(f'{path}.type', f'expected DPCLoss, got {kind.__name__}')
    if options.get('encoder') is None and isinstance(network, DINOIRArch):
        options['encoder'] = network.encoder
    return _check_loss(options, path, construct)


def _check_validation(options: Mapping[str, Any]) -> str:
    metrics = options.get('metrics') or {}
    check_metrics(metrics)
    if 'tile' in options:
        try:
            check_tile(options['tile'], options.get('tile_overlap', DEFAULT_OVERLAP))
        except ValueError as error:
            raise OptionsError('val.tile_overlap', str(error)) from error
    return f'metrics: {", ".join(metrics) or "none"}'
