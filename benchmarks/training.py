"""Training steps: DINOIRModel's own against the textbook step, in time and in memory."""

from __future__ import annotations

import copy
import functools
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.forward import GUIDE_AT, VIT_S, guided_restormer, image
from benchmarks.measure import (
    Form,
    Result,
    cost,
    in_turns,
    in_turns_apart,
    peak_memory,
    speed_up,
    spread,
    times_as_fast,
)

LEVELS = ['encoder_level1', 'encoder_level2', 'encoder_level3', 'latent', 'decoder_level3', 'decoder_level2']
LEVELS += ['decoder_level1', 'refinement']
SAVE_EVERY = 5000
OPTIONS: dict[str, Any] = {
    'name': 'benchmark',
    'model_type': 'DINOIRModel',
    'is_train': True,
    'dist': False,
    'rank': 0,
    'world_size': 1,
    'num_gpu': 0,
    'path': {},
    'datasets': {'train': {}},
    'network_g': {'type': 'DINOIRArch', 'backbone': {'type': 'Restormer'}, 'encoder': VIT_S, 'guide_at': GUIDE_AT},
    'train': {
        'total_iter': 1000,
        'grad_clip_norm': 0.01,
        'optim_g': {'type': 'AdamW', 'lr': 2.0e-4},
        'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]},
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0},
        'dpc_opt': {'type': 'DPCLoss', 'loss_weight': 0.1, 'layers': [3, 7, 11]},
    },
}


def build(train: Mapping[str, Any], num_gpu: int = 0) -> Any:
    """Build a DINOIRModel with ViT-S, random weights, and these options under ``train`` beside those above."""
    from basicsr.models import build_model

    warnings.filterwarnings('ignore', message='The encoder .* has random weights')
    options = copy.deepcopy(OPTIONS)
    options['train'].update(train)
    options['num_gpu'] = num_gpu
    return build_model(options)


def our_step(train: Mapping[str, Any], batch: int = 2, side: int = 128) -> Form:
    """Give one step of DINOIRModel, built with these options."""
    return step_of(build(train), batch, side)


def step_of(model: Any, batch: int = 2, side: int = 128) -> Form:
    """Give one step of a DINOIRModel."""
    data = {'lq': image(side, batch), 'gt': image(side, batch).flip(3)}

    def step() -> None:
        model.feed_data(data)
        model.optimize_parameters(1)

    return step


def textbook_step(batch: int = 2, side: int = 128) -> Form:
    """Give the same step as the paper's equations are written: full-size guidance, four encoder passes."""
    from dinoir_plugin.testing.textbook.dinoir import textbook_dinoir, textbook_dpc

    model = build({})
    lq, gt = image(side, batch), image(side, batch).flip(3)

    def step() -> None:
        model.optimizer_g.zero_grad()
        output = textbook_dinoir(model.net_g, lq)
        (F.l1_loss(output, gt) + textbook_dpc(model.criteria['dpc'], output, gt, lq)).backward()
        nn.utils.clip_grad_norm_(model.net_g.parameters(), 0.01)
        model.optimizer_g.step()

    return step


def training(runs: int, **train: Any) -> Result:
    """Time a training step (batch 2, 128 px, ViT-S/14, DPC, AdamW) against the textbook step in float32."""
    return speed_up({'ours': our_step(train), 'against': textbook_step()}, runs)


def alone(runs: int) -> Result:
    """Time a step as the trainer makes it, in a process that keeps the memory it frees, beside one that does not."""
    return times_as_fast(in_turns_apart(functools.partial(our_step, {}), {'ours': True, 'against': False}, runs))


def memory(runs: int, **train: Any) -> Result:
    """Measure peak memory of the same step over the textbook step's."""
    forms = {
        'ours': spread([peak_memory(our_step, train) / 2**20 for _ in range(min(runs, 3))]),
        'against': spread([peak_memory(textbook_step) / 2**20 for _ in range(min(runs, 3))]),
    }
    return Result(forms['ours']['median'] / forms['against']['median'], 'MiB', forms)


def checkpointing(runs: int, levels: list[str]) -> Result:
    """Measure the time of a step with activation checkpointing over the time without; the memory is in the note."""
    result = cost({'ours': our_step({'checkpointing': levels}), 'against': our_step({})}, runs)
    sizes = [peak_memory(our_step, train) / 2**20 for train in ({'checkpointing': levels}, {})]
    result.note = f'peak memory {sizes[0]:.0f} MiB instead of {sizes[1]:.0f}'
    return result


def saving(runs: int) -> Result:
    """Measure what a checkpoint every 5,000 steps (network, average, optimizer, on the disk) adds to their time."""
    with tempfile.TemporaryDirectory() as folder:
        model = build({'ema_decay': 0.999})
        model.opt['path'] = {'models': folder, 'training_states': folder}
        model.opt['logger'] = {}
        result = cost({'ours': lambda: model.save(0, 1), 'against': step_of(model)}, runs)
        result.ratio /= SAVE_EVERY
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        result.note = f'{size / 1e6:.0f} MB a checkpoint'
        return result


def ema(runs: int) -> Result:
    """Time the EMA update of one step against BasicSR's loop."""
    from basicsr.models.base_model import BaseModel

    from dinoir_plugin.models.restoration_model import RestorationModel

    model = RestorationModel.__new__(RestorationModel)
    model.net_g, model.net_g_ema = guided_restormer(), guided_restormer()
    forms: dict[str, Form] = {
        'ours': lambda: model.model_ema(0.999),
        'against': lambda: BaseModel.model_ema(model, 0.999),
    }
    result = speed_up(forms, runs * 5)
    ours, theirs = (torch.rand(sum(p.numel() for p in model.net_g.parameters())) for _ in range(2))
    floor = spread(in_turns({'floor': lambda: ours.lerp_(theirs, 1e-3)}, runs * 5)['floor'])['median']
    result.note = f'one pass over as much flat memory: {floor:.4f} s'
    return result
