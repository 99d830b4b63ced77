"""Whether a checkpoint file is one, and fits the network."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dinoir_plugin.errors import OptionsError


def check_file(path: str, option: str) -> dict[str, Any]:
    """Read a file that BasicSR wrote, without running code from it.

    Raises:
        OptionsError: There is none, or it cannot be read.
    """
    if not Path(path).expanduser().is_file():
        raise OptionsError(option, f"there is no file '{path}'")
    try:
        content = torch.load(Path(path).expanduser(), map_location='cpu', weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise OptionsError(option, f"'{path}' is not a whole file of tensors written by torch.save") from error
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
    saved = {key.removeprefix('module.'): value for key, value in state.items() if isinstance(value, Tensor)}
    wanted = network.state_dict()
    problems = [f"lacks '{key}'" for key in wanted if key not in saved]
    problems += [f"has an unknown '{key}'" for key in saved if key not in wanted]
    problems += [
        f"has '{key}' as {tuple(saved[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in saved and saved[key].shape != value.shape
    ]
    if problems:
        more = f' and {len(problems) - 2} more' if len(problems) > 2 else ''
        problem = f"'{path}' does not fit network_g: it {', '.join(problems[:2])}{more}"
        raise OptionsError(option, problem, 'Give the options it was trained with, or strict_load_g: false')
