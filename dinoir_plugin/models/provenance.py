"""Tell what made the figures of a test: the checkpoint, the metrics, versions and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.version import __version__ as host_version

from dinoir_plugin.core.machine import processor
from dinoir_plugin.core.pretrained import Weights
from dinoir_plugin.core.version import __version__
from dinoir_plugin.metrics.conventions import in_full

DIGITS = 12
CHUNK = 1 << 24  # bytes read at a time
RESTORING = ('tile', 'tile_overlap', 'sampler')  # options under val that change figures


class Origin(NamedTuple):
    """Hold which file the tested network came from.

    Attributes:
        path: As the options name it.
        weights: Where in the file they stand.
        iteration: Of the training that wrote it; None where the file does not say it.
        sha256: The first digits of the file's.
    """

    path: str
    weights: str
    iteration: int | None
    sha256: str

    @classmethod
    def of(cls, path: str, weights: Weights) -> Origin:
        """Look at a file that weights were read from."""
        digest = hashlib.sha256()
        with Path(path).expanduser().open('rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        iteration = weights.trained_with.iteration if weights.trained_with else None
        return cls(path, weights.place, iteration, digest.hexdigest()[:DIGITS])


def about(opt: Mapping[str, Any], origin: Origin | None, device: torch.device) -> dict[str, Any]:
    """Give what made the figures of a run, as JSON takes it.

    Args:
        opt: The run's options.
        origin: The network's file; None where it came from none, as in training.
        device: That of the model.
    """
    val = opt['val']
    metrics = {name: in_full(block, f'val.metrics.{name}') for name, block in (val.get('metrics') or {}).items()}
    return {
        'run': opt['name'],
        'checkpoint': origin and origin._asdict(),
        'metrics': metrics,
        'restoring': {key: val[key] for key in RESTORING if val.get(key)},
        **surroundings(device),
    }


def surroundings(device: torch.device) -> dict[str, Any]:
    """Give versions and machine of a run on a device."""
    return {
        'versions': {
            'dinoir_plugin': __version__,
            'basicsr': host_version,
            'torch': torch.__version__,
            'timm': version('timm'),
        },
        'machine': torch.cuda.get_device_name(device) if device.type == 'cuda' else processor(),
    }


def in_one_line(facts: Mapping[str, Any]) -> str:
    """Put what :func:`about` or :func:`surroundings` gave into words."""
    return '; '.join(_parts(facts)) + '.'


def _parts(facts: Mapping[str, Any]) -> Iterator[str]:
    file = facts.get('checkpoint')
    if file:
        steps = '' if file['iteration'] is None else f', iteration {file["iteration"]}'
        yield f'`{file["path"]}` ({file["weights"]}{steps}, sha256 {file["sha256"]})'
    yield from (f'{name}: {block["type"]}, {block["convention"]}' for name, block in facts.get('metrics', {}).items())
    yield from (f'{key}: {value}' for key, value in facts.get('restoring', {}).items())
    yield ', '.join(f'{name} {number}' for name, number in facts['versions'].items())
    yield facts['machine']
