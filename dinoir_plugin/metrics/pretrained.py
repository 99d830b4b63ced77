"""What LPIPS, DISTS and FID need beside this package: the extra ``metrics``, and networks that others have trained."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.weight_files import first_line

EXTRA = 'dinoir_plugin[metrics]'
CPU = torch.device('cpu')

ByteArray = np.ndarray[Any, np.dtype[np.uint8]]


def from_extra(module: str) -> Any:
    """Import a module of a package that the extra brings, when a metric first needs it: some take seconds.

    Raises:
        OptionsError: It cannot be imported (path ``type``).
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        problem = f'this metric needs the Python package {module.partition(".")[0]}, which cannot be imported ({error})'
        raise OptionsError('type', problem, f'Run: pip install "{EXTRA}"') from error


def built(build: Callable[[], nn.Module], file: Path, option: str) -> nn.Module:
    """Build a frozen network that reads ``file`` when it is built; random numbers are drawn as if it had not been.

    Raises:
        OptionsError: The file holds the weights of another network.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return build().eval().requires_grad_(False)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        problem = f"'{file}' does not hold the weights of this metric's network ({first_line(error)})"
        raise OptionsError(option, problem, 'Remove it, or name the right one') from error


def to_rgb(image: ByteArray, device: torch.device) -> Tensor:
    """Turn an image as BasicSR hands it to metrics into one for a network.

    Args:
        image: (H, W, 3), BGR, uint8.
        device: Where to.

    Returns:
        (1, 3, H, W), RGB, uint8.

    Raises:
        ValueError: An image of another type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'expected an image of 8 bits, (height, width, 3), got {image.shape} {image.dtype}')
    rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    return torch.from_numpy(rgb)[None].to(device)
