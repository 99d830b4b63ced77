"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.options import read

PATH = 'train.optim_g'
# those whose step is one kernel on a GPU; it can leave a step out by itself
FUSED = ('Adam', 'AdamW', 'SGD')


def make_optimizer(kind: str, params: Iterable[Tensor], **arguments: Any) -> torch.optim.Optimizer:
    """Make an optimizer of ``torch.optim``, on a GPU in its fused form where it has one.

    Args:
        kind: Its name there, e.g. ``AdamW``.
        params: What it optimizes.
        **arguments: Its other arguments, e.g. ``lr``. ``fused`` and ``foreach`` choose the form. With ``decay_vectors:
            false`` weight decay leaves out what has fewer than two axes: biases, norms, scales.

    Raises:
        OptionsError: There is none of that name, or it does not take the arguments (path ``train.optim_g``).
    """
    kinds = {
        name: value
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    if kind not in kinds:
        raise OptionsError(f'{PATH}.type', f"torch.optim has no '{kind}'", nearest(str(kind), kinds))
    params = list(params)
    decays_vectors = read(bool, arguments.pop('decay_vectors', True), f'{PATH}.decay_vectors')
    on_gpu = all(isinstance(param, Tensor) and param.is_cuda for param in params)
    if on_gpu and kind in FUSED and not arguments.keys() & {'fused', 'foreach'}:
        arguments['fused'] = True
    given = params if decays_vectors else _by_decay(params)
    optimizer: torch.optim.Optimizer = construct(kinds[kind], PATH, arguments, params=given)
    optimizer.register_load_state_dict_pre_hook(_keep_form)
    return optimizer


def _by_decay(params: list[Tensor]) -> list[dict[str, Any]]:
    """Make groups of the parameters that weight decay acts on, and of those that it does not."""
    groups: list[dict[str, Any]] = [
        {'params': [param for param in params if param.ndim > 1]},
        {'params': [param for param in params if param.ndim < 2], 'weight_decay': 0.0},
    ]
    return [group for group in groups if group['params']]


def decides_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether the optimizer can leave a step out without asking the host."""
    return bool(optimizer.defaults.get('fused')) and getattr(optimizer, '_step_supports_amp_scaling', False)


def _keep_form(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Keep the form that this run chose where a training state was written by another."""
    forms = {key: optimizer.defaults[key] for key in ('fused', 'foreach', 'capturable') if key in optimizer.defaults}
    return {**state, 'param_groups': [{**group, **forms} for group in state['param_groups']]}
