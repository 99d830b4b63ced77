"""FFDNet as its paper's equations are written, on the weights of a package network.

With it the noise estimate of Donoho and Johnstone in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dinoir_plugin.testing.textbook.dncnn import textbook_stack

PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))


def textbook_ffdnet(net: Any, image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Run ``net`` on (B, C, H, W) in [0, 1] with even sides; ``sigmas`` has the noise level of each image."""
    batch, channels, height, width = image.shape
    given = image.new_zeros(batch, channels * 4 + 1, height // 2, width // 2)
    for channel in range(channels):
        for number, (row, column) in enumerate(PLACES):
            given[:, channel * 4 + number] = image[:, channel, row::2, column::2]
    for whole, sigma in enumerate(sigmas):
        given[whole, -1] = sigma
    parts = textbook_stack(net.model, given)
    out = torch.zeros_like(image)
    for channel in range(channels):
        for number, (row, column) in enumerate(PLACES):
            out[:, channel, row::2, column::2] = parts[:, channel * 4 + number]
    return out


def textbook_sigma(whole: np.ndarray) -> float:
    """Estimate the noise level of (H, W, C)."""
    height, width = (side // 2 * 2 for side in whole.shape[:2])
    estimates = []
    for channel in range(whole.shape[2]):
        plane = whole[:height, :width, channel]
        # the Haar transform along rows, then along columns; its diagonal details are the differences of differences
        across = (plane[:, 0::2] - plane[:, 1::2]) / np.sqrt(2)
        diagonal = (across[0::2] - across[1::2]) / np.sqrt(2)
        seen = np.abs(diagonal[np.abs(diagonal) > 1e-12])
        estimates.append(np.median(seen) / 0.6745 if seen.size else 0.0)
    return float(np.mean(estimates))
