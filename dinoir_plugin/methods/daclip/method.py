"""DA-CLIP as a guidance method: content and degradation of an image, found by a frozen controlled CLIP."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.method import GuidanceMethod, ReadFeatures
from dinoir_plugin.methods.daclip.encoder import FrozenDACLIP
from dinoir_plugin.methods.daclip.prompt import PROMPT, ContextInjection, Prompted

ENCODER = 'daclip'  # the option's key in network_g
CONTENT, DEGRADATION = 'content', 'degradation'


class DACLIPGuidance(GuidanceMethod, Prompted):
    """Tell a backbone the content of an image, as one token, and its degradation, as a vector.

    A backbone that takes a condition has layers of its own for both. For the places in others there is one prompt, and
    an injector for each place.

    Args:
        encoder: Looks at the degraded image.
        prompt_dim: Width of the prompt that the injectors share; None: they are not told the degradation, and there is
            no prompt.
        content: Whether the injectors are told the content.
    """

    def __init__(self, encoder: FrozenDACLIP, prompt_dim: int | None = None, content: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.prompt_dim, self.content = prompt_dim, content
        if prompt_dim is not None:
            self.add_prompt(encoder.width, prompt_dim)

    def encoders(self) -> dict[str, FrozenDACLIP]:
        """Name the one encoder."""
        return {ENCODER: self.encoder}

    def encode(self, image: Tensor, read: ReadFeatures | None = None) -> dict[str, Tensor]:
        """Give both embeddings, (B, width) each, not normalised."""
        content, degradation = self.encoder(image)
        return {CONTENT: content, DEGRADATION: degradation}

    def forward(self, encodings: Mapping[str, Tensor]) -> Condition:
        """Hand on the content as tokens (B, 1, width), the degradation as the vector (B, width).

        What the prompt says of the degradation is the map ``prompt``, (B, prompt_dim, 1, 1), alike at all places.
        """
        content, degradation = encodings[CONTENT], encodings[DEGRADATION]
        maps = {} if self.prompt_dim is None else {PROMPT: self.prompted(degradation)[..., None, None]}
        return Condition(maps, content[:, None], degradation)

    def injector(self, channels: int) -> ContextInjection:
        """Make the injector for a feature of that width."""
        return ContextInjection(channels, self.encoder.width if self.content else None, self.prompt_dim)
