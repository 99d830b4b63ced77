"""The learned prompt that an image's degradation chooses from, and features modulated by it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector


class PromptModulation(Injector):
    """Scale and shift the channels of a feature by the prompt; the identity at first.

    Args:
        channels: Of the feature.
        width: Of the degradation's embedding.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.rand(1, width))
        self.choice = nn.Linear(width, width)
        self.modulation = nn.Linear(width, channels * 2)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, feature: Tensor, condition: Condition) -> Tensor:
        """Modulate (B, C, H, W); see :meth:`Injector.forward`."""
        assert condition.vector is not None
        chosen = self.choice(condition.vector).softmax(dim=1) * self.prompt
        scale, shift = self.modulation(chosen)[..., None, None].chunk(2, dim=1)
        out: Tensor = torch.addcmul(shift, feature, scale + 1)
        return out
