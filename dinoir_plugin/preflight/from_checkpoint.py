"""``network_g: from_checkpoint`` stands for the network that the file of ``path.pretrain_network_g`` describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dinoir_plugin.archs.released import network_of
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.pretrained import read_network
from dinoir_plugin.models.options import FROM_CHECKPOINT

FILE = 'path.pretrain_network_g'
INSIDE = 'network_g:'


def takes_network(written: Mapping[str, Any]) -> bool:
    """Tell whether an options file leaves its network to the checkpoint."""
    return written.get('network_g') == FROM_CHECKPOINT


def forced_in_two(forced: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split ``--force_yml`` entries into those that the network's file depends on, and those inside of the network."""
    inside = [entry for entry in forced if entry.startswith(INSIDE)]
    return [entry for entry in forced if entry not in inside], inside


def with_network(written: Mapping[str, Any]) -> dict[str, Any]:
    """Give options with the network itself in the place of ``from_checkpoint``; others as they are.

    Args:
        written: The options as the file has them; not changed.

    Raises:
        OptionsError: No file is named, it cannot be read, or it does not say which network it is for.
    """
    if not takes_network(written):
        return dict(written)
    paths = written.get('path')
    file = paths.get('pretrain_network_g') if isinstance(paths, Mapping) else None
    if not isinstance(file, str):
        problem = f'{FROM_CHECKPOINT} takes the network from the file of {FILE}, and none is named there'
        raise OptionsError('network_g', problem, 'Name it, or write the network: network_g: {type: ..., ...}')
    network = network_of(read_network(file, FILE), file)
    if network is None:
        problem = f'{file} does not say which network it is for, as it was not written by this plugin'
        raise OptionsError('network_g', problem, 'Write the options that it was trained with: network_g: {type: ..., '
                           '...}')  # fmt: skip
    return {**written, 'network_g': dict(network)}
