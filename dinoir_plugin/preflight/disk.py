"""Whether the checkpoints of a run will fit on the disk."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dinoir_plugin.core.wording import byte_text, told_apart
from dinoir_plugin.models.optimizer import make_optimizer

# Two axes, because some optimizers keep a row and a column of sums for a matrix; large enough for these not to count.
PROBE_SIDE = 64


class Estimate(NamedTuple):
    """Hold what a run will write.

    Attributes:
        checkpoints: How many are kept at a time: all of them without ``logger.keep_last``.
        each: Bytes of one: network, its average and the optimizer's state.
        latest: Bytes of the last file, net_g_latest.pth, which has no optimizer state.
    """

    checkpoints: int
    each: int
    latest: int

    @property
    def total(self) -> int:
        """Sum up all bytes."""
        return self.checkpoints * self.each + self.latest


def estimate(train: Mapping[str, Any], logger: Mapping[str, Any], network: nn.Module) -> Estimate:
    """Estimate what BasicSR's trainer will write, from the built network.

    Args:
        train: The block ``train``.
        logger: The block ``logger``.
        network: What is trained; its state dict is what a checkpoint holds.
    """
    averaged = train.get('ema_decay', 0) > 0
    weights = _bytes(network.state_dict().values()) * (2 if averaged else 1)
    trained = _bytes(parameter for parameter in network.parameters() if parameter.requires_grad)
    state = round(trained * _state_share(train['optim_g']))
    count = int(train['total_iter'] // logger['save_checkpoint_freq'])
    return Estimate(min(count, logger.get('keep_last') or count), weights + state, weights)


def check_disk(opt: Mapping[str, Any], network: nn.Module) -> str:
    """Hold what a run will write against the free space; warns where that is too little.

    Args:
        opt: BasicSR's options of a training run, parsed.
        network: The built network.

    Returns:
        Both in words.
    """
    needed = estimate(opt['train'], opt['logger'], network)
    place = _existing(Path(opt['path']['experiments_root']))
    free = shutil.disk_usage(place).free
    total, left = told_apart(needed.total, free, byte_text)
    looked = (f'{needed.checkpoints} checkpoints of {byte_text(needed.each)} and the last network: {total}; '
              f'{left} free at {place}')
    if needed.total > free:
        warnings.warn(
            f'path.experiments_root: the checkpoints of the whole run need about {total}, but {place} '
            f'has {left} free. Set logger.keep_last, raise logger.save_checkpoint_freq, or set '
            'path.experiments_root to a larger disk.',
            stacklevel=2,
        )
    return looked


def _existing(path: Path) -> Path:
    """Give the path, or the nearest folder above it that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _state_share(options: Mapping[str, Any]) -> float:
    """Give the bytes of an optimizer's state for each byte of parameters, seen after one step on a small matrix."""
    arguments = {key: value for key, value in options.items() if key != 'type'}
    probe = torch.zeros(PROBE_SIDE, PROBE_SIDE, requires_grad=True)
    optimizer = make_optimizer(options['type'], [probe], **arguments)
    probe.grad = torch.zeros_like(probe)
    optimizer.step()
    state = (value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor))
    return _bytes(state) / _bytes([probe])
