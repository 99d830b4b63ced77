"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError, nearest

PATH = 'train.optim_g'


def make_optimizer(kind: str, params: Iterable[Tensor], **arguments: Any) -> torch.optim.Optimizer:
    """Make an optimizer of ``torch.optim``.

    Args:
        kind: Its name there, e.g. ``AdamW``.
        params: What it optimizes.
        **arguments: Its other arguments, e.g. ``lr``.

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
    return construct(kinds[kind], PATH, arguments, params=params)
