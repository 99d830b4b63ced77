"""A tiny TKMANet, and checkpoints of teachers for it, with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dinoir_plugin.archs.tkmanet_arch import TKMANet
from dinoir_plugin.core import network_file

TINY_TKMANET: dict[str, Any] = {'type': 'TKMANet', 'res_blocks': 1, 'widths': [2, 4, 8, 16, 32]}


def tiny_tkmanet() -> TKMANet:
    """Build it, without teachers."""
    return TKMANet(**{key: value for key, value in TINY_TKMANET.items() if key != 'type'})


def write_teachers(folder: Path, tasks: Iterable[str]) -> dict[str, str]:
    """Write a checkpoint ``folder/<task>.pth`` for each task, with weights of its own; give task to path."""
    paths = {task: folder / f'{task}.pth' for task in tasks}
    for path in paths.values():
        states = {'params': tiny_tkmanet().state_dict()}
        network_file.write(path, network_file.NetworkFile(states, network_file.Description(TINY_TKMANET)))
    return {task: str(path) for task, path in paths.items()}
