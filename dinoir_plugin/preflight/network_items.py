"""Building for trial what depends on the network: checkpoints, output size, patches, losses, phases, acceleration."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY
from torch import nn

from dinoir_plugin.core.construct import look_up, registered_class
from dinoir_plugin.core.errors import OptionsError, under
from dinoir_plugin.core.pretrained import Extent, weights_for
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.guidance.guided_arch import GuidedArch, encoders_of
from dinoir_plugin.guidance.trained_with import other_encoder, other_options
from dinoir_plugin.inference.sampler import sampler_for
from dinoir_plugin.inference.tiling import restore_image
from dinoir_plugin.models.acceleration import prepare
from dinoir_plugin.models.options import loss_blocks
from dinoir_plugin.models.phases import Phases
from dinoir_plugin.preflight.check_item import CheckItem
from dinoir_plugin.preflight.loss_items import loss_items
from dinoir_plugin.preflight.needs import uses_gpu
from dinoir_plugin.preflight.resume_items import has_checkpoint, resume_items
from dinoir_plugin.preflight.schema import drives

TRIAL_SIDE = 64
# by how much patches may be enlarged or made smaller for the encoder, which sees test images nearly as they are
PATCH_SCALE = 1.2


def network_items(opt: Mapping[str, Any], is_train: bool) -> list[CheckItem]:
    """List the checks of what depends on the network; each takes the network."""
    items = _path_items(opt, is_train)
    if drives(opt):
        model = look_up(MODEL_REGISTRY, opt['model_type'], 'model_type')
        items.append(CheckItem('model_type: network_g', lambda network: _check_model(model, network)))
    sets = [registered_class(DATASET_REGISTRY, options.get('type')) for options in opt['datasets'].values()]
    kind = registered_class(ARCH_REGISTRY, (opt.get('network_g') or {}).get('type'))
    restores = not hasattr(kind, 'purpose')
    if restores and any(kind and issubclass(kind, MixedDegradationDataset) for kind in sets):
        options = (opt.get('val') or {}).get('sampler') if drives(opt) else None
        items.append(CheckItem('network_g: output size', lambda network: _check_scale(network, options)))
    if is_train and hasattr(kind, 'encoders'):
        data = opt['datasets']['train']
        items.append(CheckItem('datasets.train.gt_size', lambda network: _check_patches(data, network)))
    if drives(opt) and is_train:
        train = opt.get('train') or {}
        items += loss_items(opt, with_network=True)
        if train.get('phases'):
            items.append(CheckItem('train.phases', lambda network: _check_phases(train, network)))
        items.append(CheckItem('train', lambda network: _check_acceleration(train, network, opt['num_gpu'])))
    return items


def _check_model(model: Any, network: nn.Module) -> str:
    model.check_network(network)
    return f'{model.__name__} trains {type(network).__name__}'


def _check_scale(network: nn.Module, options: Mapping[str, Any] | None) -> str:
    """Refuse a network that changes the size: degraded and target of our data set have one."""
    image = torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE)
    sampler = sampler_for(network, options, 'val.sampler').trial()
    try:
        with torch.no_grad():
            shape = restore_image(network.eval(), image, sampler=sampler).shape
    except Exception as error:  # a foreign network may raise anything
        problem = f'the network does not take RGB images, {TRIAL_SIDE}x{TRIAL_SIDE} pixels'
        raise OptionsError('network_g', f'{problem} ({type(error).__name__}: {error})') from error
    if shape != image.shape:
        problem = f'the network turns {TRIAL_SIDE}x{TRIAL_SIDE} pixels into {tuple(shape)}'
        raise OptionsError(
            'network_g', f'{problem}, but MixedDegradationDataset wants the same size', 'Set its upscale to 1'
        )
    return f'a trial run on {TRIAL_SIDE}x{TRIAL_SIDE} pixels'


def _check_patches(data: Mapping[str, Any], network: nn.Module) -> str:
    """Warn where an encoder that reads patches in their own size meets things in another size than in tests."""
    read = network.method.wants() if isinstance(network, GuidedArch) else {}
    encoders = {name: encoder for name, encoder in encoders_of(network).items() if encoder in read}
    sizes = {stage.get('gt_size', data.get('gt_size')) for stage in data.get('stages') or [data]}
    found = []
    for side in sorted(size for size in sizes if isinstance(size, int)):
        words = [f'patches of {side} px']
        for name, encoder in encoders.items():
            taken = encoder.taken_side(side)
            words += [f'which the {name} takes as {taken} px'] if taken != side else []
            if max(side, taken) > PATCH_SCALE * min(side, taken):
                problem = f'the {name} takes patches of {side} px as {taken} px, and whole images nearly as they are'
                warnings.warn(f'datasets.train.gt_size: {problem}. {taken} suits it better', stacklevel=2)
        found.append(', '.join(words))
    return '; '.join(found)


def _path_items(opt: Mapping[str, Any], is_train: bool) -> list[CheckItem]:
    paths = opt['path']
    items = resume_items(opt) if is_train and drives(opt) else []
    # a resumed run takes its own network, not the pretrained one
    goes_on = is_train and (paths.get('resume_state') or (opt.get('auto_resume') and has_checkpoint(opt)))
    if paths.get('pretrain_network_g') and not goes_on:
        items.append(CheckItem('path.pretrain_network_g', lambda network: _check_pretrained(opt, network, is_train)))
    return items


def _check_pretrained(opt: Mapping[str, Any], network: nn.Module, is_train: bool) -> str:
    paths, options = opt['path'], opt['network_g']
    path, key = paths['pretrain_network_g'], paths.get('param_key_g', 'params')
    extent: Extent = 'part' if not paths.get('strict_load_g', True) else 'start' if is_train else 'whole'
    weights = weights_for(network, path, key, extent, 'path.pretrain_network_g')
    other = other_encoder(network, options, weights.trained_with, path, 'Give those')
    if other and not is_train:
        raise other
    said = str(other) if other else other_options(options, weights.trained_with, path)
    if said:
        warnings.warn(said, stacklevel=2)
    return f'{path}, {weights.words}'


def _check_phases(train: Mapping[str, Any], network: nn.Module) -> str:
    Phases(train['phases']).check(network, loss_blocks(train))
    return ', then '.join(f'{phase["iters"]} iterations' for phase in train['phases'])


def _check_acceleration(train: Mapping[str, Any], network: nn.Module, num_gpu: object) -> str:
    if train.get('amp') == 'bf16' and uses_gpu(num_gpu) and not torch.cuda.is_bf16_supported(including_emulation=False):
        problem = f'{torch.cuda.get_device_name()} does not compute in bf16'
        raise OptionsError('train.amp', problem, 'Write amp: fp16')
    with under('train'):
        prepare(network, train)
    # YAML reads a bare `off` as false
    return f'{train["total_iter"]} iterations, amp {train.get("amp") or "off"}'
