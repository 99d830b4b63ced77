"""DA-CLIP as a guidance method: content and degradation of an image, found by a frozen controlled CLIP."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.guidance.method import GuidanceMethod, ReadFeatures
from dinoir_plugin.methods.daclip.encoder import FrozenDACLIP
from dinoir_plugin.methods.daclip.prompt import PromptModulation

ENCODER = 'daclip'  # the option's key in network_g
CONTENT, DEGRADATION = 'content', 'degradation'


class DACLIPGuidance(GuidanceMethod):
    """Tell a backbone the content of an image, as one token, and its degradation, as a vector.

    Args:
        encoder: Looks at the degraded image.
    """

    def __init__(self, encoder: FrozenDACLIP) -> None:
        super().__init__()
        self.encoder = encoder

    def encoders(self) -> dict[str, FrozenDACLIP]:
        """Name the one encoder."""
        return {ENCODER: self.encoder}

    def encode(self, image: Tensor, read: ReadFeatures | None = None) -> dict[str, Tensor]:
        """Give both embeddings, (B, width) each, not normalised."""
        content, degradation = self.encoder(image)
        return {CONTENT: content, DEGRADATION: degradation}

    def forward(self, encodings: Mapping[str, Tensor]) -> Condition:
        """Hand on the content as tokens (B, 1, width), and the degradation as the vector (B, width)."""
        return Condition(tokens=encodings[CONTENT][:, None], vector=encodings[DEGRADATION])

    def injector(self, channels: int) -> Injector:
        """Make a modulation by the prompt for a feature of that width."""
        return PromptModulation(channels, self.encoder.width)
