"""Networks that were trained before, and serve in the training of another one without learning any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dinoir_plugin.archs.released import network_of
from dinoir_plugin.core import network_file
from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError


def trained_network(
    path: str | Path, option: str, remedy: str, check: Callable[[nn.Module], None] | None = None
) -> nn.Module:
    """Load a network, its EMA weights where there are any, for use without gradients.

    Args:
        path: A checkpoint of this plugin, or a file as authors release it.
        option: Which option an error is about.
        remedy: What to do where the file says nothing of its network.
        check: Refuses a network that is not wanted, before its weights are looked at.

    Raises:
        FileError: The file cannot be read.
        OptionsError: It does not say how its network is built, or does not fit it.
    """
    file = network_file.read(path)
    options = network_of(file, path)
    if options is None:
        raise OptionsError(option, f'{path} does not say how its network is built', remedy)
    network: nn.Module = build_registered(ARCH_REGISTRY, options, option)
    if check is not None:
        check(network)
    _, found = file.choose('params_ema', network)
    problem = found.problem()
    if problem:
        raise OptionsError(option, f'{path} is damaged: it {problem}')
    network.load_state_dict(found.state)
    return network.eval().requires_grad_(False)
