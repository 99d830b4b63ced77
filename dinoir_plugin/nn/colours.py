"""Images as networks want to see them: with the mean and deviation of each colour taken off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normalised(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Compute ``(image - mean) / std`` for each colour.

    By numbers and not by tensors of them, for whose copy to a GPU a training step would wait.

    Args:
        image: (B, C, H, W).
        mean: Of each of the C colours.
        std: The same.
    """
    channels = zip(image.unbind(dim=1), mean, std)
    return torch.stack([(channel - centre) / spread for channel, centre, spread in channels], dim=1)
