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
# from inputs to results: what kernels compute, or torch in their place
Form = Callable[..., Sequence[Tensor]]


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


@torch.enable_grad()
def largest_difference(
    kernels: Form, by_torch: Form, shapes: Sequence[tuple[int, ...]], device: torch.device, dtype: torch.dtype
) -> float:
    """Hold kernels against torch in float64, on inputs drawn from a normal distribution of deviation 2.

    Args:
        kernels: From inputs of the type, which require gradients, to results.
        by_torch: From the same in float64 to the same results.
        shapes: Of the inputs.
        device: Where.
        dtype: Of the inputs.

    Returns:
        The largest difference of a result, relative to its largest value, with a rounding of the type and the sums of
        many pixels as 1.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.autocast(device.type, enabled=False), torch.cuda.device(device):
        inputs = [2 * torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
        found, expected = (
            form(*(value.detach().to(kind).requires_grad_() for value in inputs))
            for form, kind in ((kernels, dtype), (by_torch, torch.float64))
        )
        allowed = 2 * torch.finfo(dtype).eps + 1e-5
        differences = [(one - other).abs().max() / other.abs().max() for one, other in zip(found, expected)]
        return torch.stack(differences).max().item() / allowed
