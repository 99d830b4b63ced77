"""Building, once and for trial, what an options file describes: data sets, network, losses, optimizer, metrics."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from basicsr.models import lr_scheduler
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY
from torch import nn

from dinoir_plugin.core.construct import build_registered, construct, look_up, registered, registered_class
from dinoir_plugin.core.errors import OptionsError, missing_option, nearest, under
from dinoir_plugin.core.tiles import check_tile
from dinoir_plugin.data.options import check_loader
from dinoir_plugin.inference.sampler import build_sampler
from dinoir_plugin.inference.tiling import DEFAULT_OVERLAP
from dinoir_plugin.models.optimizer import make_optimizer
from dinoir_plugin.preflight.check_item import CheckItem
from dinoir_plugin.preflight.loss_items import loss_items
from dinoir_plugin.preflight.measured_sets import measured_items
from dinoir_plugin.preflight.metric_options import check_metrics
from dinoir_plugin.preflight.needs import needs_items
from dinoir_plugin.preflight.network_items import network_items
from dinoir_plugin.preflight.schema import drives

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
    for item in host_items(opt):
        item.check()
    for phase, options in opt['datasets'].items():
        check_dataset(options, f'datasets.{phase}')
    for item in plain_items(opt, is_train):
        item.check()
    if builds_network(opt):
        network = build_network(opt)
        for item in network_items(opt, is_train):
            item.check(network)


def builds_network(opt: Mapping[str, Any]) -> bool:
    """Tell whether the run's network is built for trial: where our model drives the run, or the network is ours."""
    kind = registered_class(ARCH_REGISTRY, (opt.get('network_g') or {}).get('type'))
    return drives(opt) or any(base.__module__.startswith('dinoir_plugin.') for base in getattr(kind, '__mro__', ()))


def host_items(opt: Mapping[str, Any]) -> list[CheckItem]:
    """List the checks of which model drives the run, the GPUs, and the names of data sets."""
    return [
        CheckItem('model_type', lambda: _check_model(opt)),
        CheckItem('num_gpu', lambda: _check_devices(opt)),
        CheckItem('datasets', lambda: _check_names(opt['datasets'])),
    ]


def plain_items(opt: Mapping[str, Any], is_train: bool) -> list[CheckItem]:
    """List the checks of what our model reads and what can be built without the network."""
    items = needs_items(opt, is_train)
    if drives(opt) and opt.get('val'):
        items += [CheckItem('val', lambda: _check_validation(opt['val'])), *measured_items(opt)]
    if drives(opt) and is_train:
        train = opt.get('train') or {}
        items += [
            CheckItem('train.optim_g', lambda: _check_optimizer(train)),
            CheckItem('train.scheduler', lambda: _check_scheduler(train)),
            *loss_items(opt, with_network=False),
        ]
        if (opt.get('logger') or {}).get('keep_last') and opt.get('val'):
            items.append(CheckItem('logger.keep_last', lambda: _check_kept(opt['logger'], opt['val'])))
    return items


def _check_kept(logger: Mapping[str, Any], val: Mapping[str, Any]) -> str:
    """Warn where iterations are judged that are not saved."""
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
    """Refuse a name that stands twice: figures and images of validation go by it."""
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
    """Open a data set that can check its images, and let it; OptionsError as above."""
    kind = find_dataset(options, path)
    if hasattr(kind, 'check_images'):
        with under(path):
            kind(options).check_images()


def find_dataset(options: Mapping[str, Any], path: str) -> Any:
    """Find the class of a data set, and check what BasicSR's loaders read of the options of a training set."""
    kind = registered(DATASET_REGISTRY, options, path)
    if path == 'datasets.train':
        check_loader(options, path)
    return kind


def build_network(opt: Mapping[str, Any]) -> nn.Module:
    """Build the run's network on the CPU, with its encoder's weights; OptionsError where it cannot be built."""
    # not by BasicSR's build_network, whose first log line would set up the run's logger without its file
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = build_registered(ARCH_REGISTRY, opt.get('network_g') or {}, 'network_g')
    return network


def _check_optimizer(train: Mapping[str, Any]) -> str:
    options = dict(train['optim_g'])
    if 'lr' not in options:
        raise missing_option('train.optim_g.lr', 'a number')
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


def _check_validation(options: Mapping[str, Any]) -> str:
    metrics = options.get('metrics') or {}
    check_metrics(metrics)
    build_sampler(options.get('sampler'), 'val.sampler')
    if 'tile' in options:
        try:
            check_tile(options['tile'], options.get('tile_overlap', DEFAULT_OVERLAP))
        except ValueError as error:
            raise OptionsError('val.tile_overlap', str(error)) from error
    return f'metrics: {", ".join(metrics) or "none"}'
