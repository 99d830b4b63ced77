"""The random numbers of a process: kept in checkpoints, and out of the way of validation."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """Give the states of torch's, numpy's and Python's generators, in types that a checkpoint may hold."""
    kind, keys, *rest = cast(tuple[str, Any, int, int, float], np.random.get_state(legacy=True))
    state: dict[str, Any] = {
        'torch': torch.get_rng_state(),
        'numpy': (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        'python': random.getstate(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore(state: Mapping[str, Any]) -> None:
    """Go on from what :func:`capture` gave."""
    torch.set_rng_state(state['torch'])
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state['python'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


@contextmanager
def kept() -> Iterator[None]:
    """Put the random state back at the end, as if nothing had been drawn inside."""
    state = capture()
    try:
        yield
    finally:
        restore(state)
