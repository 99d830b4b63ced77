"""What options say, in words for reports and captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# where encoder.weights is no file
SOURCES = {
    'auto': "timm's pretrained weights",
    'installed': 'pretrained weights of an installed package',
    'random': 'random weights: without meaning',
}


DACLIP = 'daclip'  # an encoder's key in network_g
DACLIP_SOURCES = {**SOURCES, 'auto': "its authors' weights"}


def encoder_text(options: Mapping[str, Any]) -> str:
    """Name an encoder and its weights; options as under ``network_g.encoder``."""
    weights = options.get('weights', 'auto')
    return f'{options["name"]}, {SOURCES.get(weights) or f"weights of {Path(weights).name}"}'


def daclip_text(options: Mapping[str, Any]) -> str:
    """Name a DA-CLIP and its weights; options as under ``network_g.daclip``."""
    weights = options.get('weights', 'auto')
    return f'DA-CLIP {options.get("name", "ViT-B-32")}, {DACLIP_SOURCES.get(weights) or f"weights of {weights}"}'


def encoders(trainings: Iterable[Mapping[str, Any]]) -> str:
    """Write a sentence on the encoders that guide or judge in trainings with these options."""
    users = [user for training in trainings for user in (training['network_g'], training['train'].get('dpc_opt', {}))]
    texts = dict.fromkeys(
        encoder_text(user['encoder']) if 'encoder' in user else daclip_text(user[DACLIP])
        for user in users if 'encoder' in user or DACLIP in user
    )  # fmt: skip
    return f'Encoder: {"; ".join(texts)}.' if texts else ''


def lengths(trainings: Mapping[str, Mapping[str, Any]]) -> str:
    """Write a sentence on how long is trained, and on what patches.

    Args:
        trainings: What a training is called to its options; the first one stands for those that are like it.
    """
    texts = {name: _length(training) for name, training in trainings.items()}
    common = next(iter(texts.values()))
    others = [f'{name} for {text}' for name, text in texts.items() if text != common]
    return f'{"; ".join([f"Each network is trained for {common}", *others])}.'


def _length(training: Mapping[str, Any]) -> str:
    data = training['datasets']['train']
    stages = data.get('stages') or [{'iters': training['train']['total_iter']}]
    return ', then '.join(
        f'{stage["iters"]} iterations of {stage.get("batch_size_per_gpu", data["batch_size_per_gpu"])} patches of '
        f'{stage.get("gt_size", data["gt_size"])} px' for stage in stages
    )  # fmt: skip
