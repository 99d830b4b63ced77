"""The learned prompt that an image's degradation chooses from, and features modulated by it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.nn.precision import full

PROMPT = 'prompt'  # the map's name in a condition


class Prompted(nn.Module):
    """Mix into modules that learn a prompt; names of parameters are those of the authors' U-Net.

    What the prompt says of a degradation d is ``Linear(softmax(MLP(d)) * prompt)``, the softmax over the features.
    """

    def add_prompt(self, context_dim: int, dim: int) -> None:
        """Begin with a random prompt.

        Args:
            context_dim: Width of the degradation's embedding.
            dim: Of the prompt.
        """
        self.prompt = nn.Parameter(torch.rand(1, dim))
        self.text_mlp = nn.Sequential(nn.Linear(context_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.prompt_mlp = nn.Linear(dim, dim)

    def prompted(self, degradation: Tensor) -> Tensor:
        """Take embeddings (B, context_dim), not normalised, to what the prompt says of them, (B, dim)."""
        logits = self.text_mlp(degradation)
        out: Tensor = self.prompt_mlp((full(logits).softmax(dim=1) * self.prompt).to(logits.dtype))
        return out


class ContextInjection(Injector):
    """Scale and shift the channels of a feature by the prompt, and shift them by the content; the identity at first.

    ``feature * (1 + scale) + shift + attention``, each (B, C), from linear layers that start at zero: a backbone with
    released weights gives its own output in the first step.

    - Scale and shift are made of the prompt as the authors' residual blocks make them of prompt and time. There is one
      prompt for all places, as in their U-Net, and one such layer a place.
    - The attention is the authors' cross-attention of pixels to the content's embedding. That is one token, and softmax
      over one key is 1 whatever the queries and keys are: each pixel gets the same vector, values and outputs of the
      attention are one linear layer, and queries and keys are left out.

    Where and how the authors guide other networks than their own they do not say: zeros at the start, one layer a
    place, and the content as a mere shift without a norm before are ours.

    Args:
        channels: C, of the feature.
        context_dim: Width of the content's embedding; None: the content shifts nothing.
        prompt_dim: Width of the prompt that all places share; None: there is none.
    """

    def __init__(self, channels: int, context_dim: int | None, prompt_dim: int | None) -> None:
        super().__init__()
        self.modulation = None if prompt_dim is None else nn.Linear(prompt_dim, channels * 2)
        self.attention = None if context_dim is None else nn.Linear(context_dim, channels)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, feature: Tensor, condition: Condition) -> Tensor:
        """Guide a feature.

        Args:
            feature: (B, C, H, W), of any layout, which stays.
            condition: Its map ``prompt``, (B, prompt_dim, 1, 1), is what the prompt says; its one token, (B, 1,
                context_dim), is the content.

        Returns:
            (B, C, H, W).
        """
        shift = None
        if self.attention is not None:
            assert condition.tokens is not None
            shift = self.attention(condition.tokens[:, 0])
        if self.modulation is None:
            return feature if shift is None else feature + _of_channels(shift, feature)
        scale, added = self.modulation(F.silu(condition.maps[PROMPT].flatten(1))).chunk(2, dim=1)
        shift = added if shift is None else added + shift
        return torch.addcmul(_of_channels(shift, feature), feature, _of_channels(scale + 1, feature))


def _of_channels(values: Tensor, feature: Tensor) -> Tensor:
    """Give (B, C) as it meets a feature, (B, C, 1, 1) in its type."""
    return values.to(feature.dtype)[..., None, None]
