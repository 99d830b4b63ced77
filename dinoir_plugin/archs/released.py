"""Recognise networks as their authors release them, by the names and shapes of a file's tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.network_file import NetworkFile

ROOT = Path(__file__).parents[1]
# beside the backbones, and beside a method's own networks
FILES = (Path(__file__).with_name('released.yml'), *sorted(ROOT.glob('methods/*/released.yml')))


class Released(NamedTuple):
    """Hold a network as its authors release it.

    Attributes:
        name: What it is called.
        key: A tensor that all of its files have.
        network: What would stand under ``network_g``; where it has a ``backbone``, files hold the weights of that.
    """

    name: str
    key: str
    network: dict[str, Any]

    def build(self) -> nn.Module:
        """Build what the files hold, without memory for its weights."""
        with torch.device('meta'), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # random weights are meant here
            held = self.network.get('backbone', self.network)
            network: nn.Module = build_registered(ARCH_REGISTRY, held, 'network_g')
        return network


@cache
def all_released() -> tuple[Released, ...]:
    """List what is known."""
    return tuple(Released(**entry) for file in FILES for entry in yaml.safe_load(file.read_text(encoding='utf-8')))


def recognise(file: NetworkFile) -> Released | None:
    """Find the network whose tensors are those of a file, whatever stands before all their names.

    Other networks with the same names and shapes may exist: this is for files that say nothing of themselves.
    """
    names = [name for state in file.states.values() for name in state]
    for released in all_released():
        if any(f'.{name}'.endswith(f'.{released.key}') for name in names):
            _, found = file.choose(None, released.build())
            if not found.problem():
                return released
    return None


def network_of(file: NetworkFile, path: str | Path) -> Mapping[str, Any] | None:
    """Give what stands under ``network_g`` for a file: as it says itself, or as its authors release it, with a warning.

    Args:
        file: Its content.
        path: Where it is, for the warning.

    Returns:
        None where nothing is known of it.
    """
    if file.description is not None:
        return file.description.network
    released = recognise(file)
    if released is None:
        return None
    warnings.warn(f'{path} does not say which network it is for: it is taken for {released.name}, whose tensors '
                  'it has', stacklevel=2)  # fmt: skip
    return released.network
