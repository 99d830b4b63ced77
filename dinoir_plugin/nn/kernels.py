"""Decide where kernels of our own, written in Triton, stand in for torch's: on GPUs on which a trial goes well."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TYPES = (torch.float32, torch.bfloat16, torch.float16)
# of the device, the type and the channels: the largest difference to torch as a share of what rounding explains
Trial = Callable[[torch.device, torch.dtype, int], float]


def suit(x: Tensor) -> bool:
    """Tell whether kernels may be tried for a feature; a compiler gets formulas, which it joins with what is beside."""
    return not torch.compiler.is_compiling() and x.is_cuda and x.dtype in TYPES


@functools.cache
def work(what: str, trial: Trial, device: torch.device, dtype: torch.dtype, channels: int) -> bool:
    """Tell whether kernels can be used: whether Triton is there, and a trial gives what torch gives.

    Args:
        what: They compute, in words.
        trial: Runs them.
        device: Where.
        dtype: Of the features.
        channels: Of the features.
    """
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    try:
        # NaN is no good either
        problem = '' if trial(device, dtype, channels) <= 1 else 'other results than torch gives'
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - of a compiler, a linker or a driver
        problem = f'{type(error).__name__}: {str(error)[:200]}'
    if problem:
        said = f'torch computes {what}, which takes longer: kernels of our own do not work here ({problem}).'
        warnings.warn(said, stacklevel=2)
    return not problem


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> float:
    """Compare results, each by its largest value, with a rounding of the type and the sums of many pixels as 1."""
    allowed = 2 * torch.finfo(dtype).eps + 1e-5
    return max(((one - other).abs().max() / other.abs().max()).item() / allowed for one, other in zip(found, expected))
