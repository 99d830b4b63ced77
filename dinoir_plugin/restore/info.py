"""What a checkpoint is, in words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from dinoir_plugin.archs.released import recognise
from dinoir_plugin.core import network_file
from dinoir_plugin.core.fitting import shared_prefix
from dinoir_plugin.restore.starter import card, checkpoint_file, is_starter

NAMES = {'params': 'as trained', 'params_ema': 'EMA weights'}


def describe(checkpoint: str | Path) -> str:
    """Write lines about a checkpoint; neither the network nor its encoder is built.

    Args:
        checkpoint: A path, or ``starter`` for the package's own model, whose card comes first.

    Raises:
        FileError: It cannot be read, or is no network.
    """
    if is_starter(checkpoint):
        return f'{card()}\n\n{_about(checkpoint_file(checkpoint))}'
    return _about(checkpoint)


def _about(checkpoint: str | Path) -> str:
    file = network_file.read(checkpoint)
    size = Path(checkpoint).expanduser().stat().st_size / 1e6
    about = file.description
    lines = [f'{checkpoint}: {size:.1f} MB' + (f', written by dinoir_plugin {about.version}' if about else '')]
    for key, state in file.states.items():
        count = sum(value.numel() for value in state.values()) / 1e6
        prefix = shared_prefix(list(state))
        below = f", all below '{prefix}'" if prefix else ''
        place = key if about or key != 'params' else file.where or 'a plain state dict'
        words = f'{NAMES[place]}, ' if place in NAMES else ''
        lines.append(f'  {place}: {words}{count:.2f} million numbers in {len(state)} tensors{below}')
    if about is None:
        released = recognise(file)
        if released is None:
            lines.append('  It does not say which network it is for: give --options FILE.yml to use it.')
        else:
            lines.append(f'  It does not say which network it is for; its tensors are those of {released.name}.')
            lines += _network_lines(released.network, ())
        return '\n'.join(lines)
    steps = '' if about.iteration is None else f', {about.iteration} iterations'
    patches = f', patches of {about.patch_size} px' if about.patch_size else ''
    lines.append(f"  run: {about.name or 'without a name'}{steps}{patches}")
    lines.append(f"  trained for: {', '.join(about.tasks) or 'not said'}")
    lines += _network_lines(about.network, about.encoders)
    return '\n'.join(lines)


def _network_lines(network: dict[str, Any], encoders: Collection[str]) -> list[str]:
    """Write the options of a network, and of its frozen encoders, by their keys, where they come from."""
    lines = []
    for key in encoders:
        block = network.get(key) or {}
        weights = block.get('weights', 'auto')
        where = {'auto': 'a download', 'random': 'random: without meaning'}.get(str(weights), weights)
        lines.append(f"  frozen {key}, not in the file: {block.get('name', 'its default')}, weights: {where}")
    text = yaml.safe_dump({'network_g': network}, sort_keys=False, default_flow_style=None, width=100)
    return [*lines, '', text.rstrip()]
