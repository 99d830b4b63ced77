"""Whether a checkpoint file is one, and fits the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from dinoir_plugin.core.atomic_files import FileError, load_verified
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.network_file import misfit, tensors_of


def check_file(path: str, option: str) -> dict[str, Any]:
    """Read a file that BasicSR wrote, without running code from it.

    Raises:
        OptionsError: There is none, or it cannot be read.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise OptionsError(option, f"there is no file '{path}'")
    try:
        content = load_verified(file)
    except FileError as error:
        raise OptionsError(option, str(error)) from error
    if not isinstance(content, dict):
        raise OptionsError(option, f"expected a dict in '{path}', got {type(content).__name__}")
    return content


def check_checkpoint(path: str, param_key: str | None, strict: bool, network: nn.Module) -> None:
    """Hold a pretrained network against the one that it is for.

    Args:
        path: The file, option ``path.pretrain_network_g``.
        param_key: Where in the file the state dict is; BasicSR falls back to ``params``.
        strict: Whether names and shapes have to be the same.
        network: The network to be filled; not changed.

    Raises:
        OptionsError: The file cannot be read, or does not fit.
    """
    option = 'path.pretrain_network_g'
    state: Any = check_file(path, option)
    if param_key is not None:
        found = param_key if param_key in state else 'params'
        if found not in state:
            raise OptionsError('path.param_key_g', f"'{path}' has no '{param_key}', only {sorted(map(str, state))[:5]}")
        state = state[found]
    if not strict:
        return
    problem = misfit(tensors_of(state), network)
    if problem:
        raise OptionsError(option, f"'{path}' does not fit network_g: it {problem}",
                           'Give the options it was trained with, or strict_load_g: false')
