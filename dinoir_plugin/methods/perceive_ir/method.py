"""Perceive-IR as a guidance method: semantic vectors of four depths and a degradation code modulate features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.frozen import FrozenEncoder
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.guidance.method import GuidanceMethod, ReadFeatures
from dinoir_plugin.guidance.places import Feature
from dinoir_plugin.methods.perceive_ir.prompt_guidance import PromptInjector, prompt_guidance
from dinoir_plugin.methods.perceive_ir.semantic_condition import semantic_condition
from dinoir_plugin.methods.perceive_ir.semantics import LAYERS, Fit, Semantics, semantic_maps, semantic_vectors

ENCODER = 'encoder'  # the option's key in network_g
IMAGE, SEMANTICS = 'image', 'semantics'


class PerceiveIRMethod(GuidanceMethod):
    """Guide by a frozen encoder's class tokens and by a code that is learned (arXiv 2408.15994).

    The condition holds the semantic vectors as tokens, (B, 4, D), or as maps, (B, D, h, w) for each depth, and the code
    as vector, of the whole image.

    Args:
        encoder: Looks at the degraded image.
        code_dim: Length of the code.
        cfe: Makes the code, (B, code_dim), of the degraded image; None where the backbone does by itself.
        layers: The encoder's blocks, from zero, from shallow to deep.
        fit: How the image is made a square for the encoder, see
            :func:`~dinoir_plugin.methods.perceive_ir.semantics.resized`.
        pgm: Arguments of :func:`~dinoir_plugin.methods.perceive_ir.prompt_guidance.prompt_guidance` but the widths.
        semantics: ``class`` (class tokens, as released) or ``spatial`` (patch tokens, so that parts of an image are
            guided by what is there).

    Raises:
        OptionsError: Patch tokens of a part of the image.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        code_dim: int,
        cfe: nn.Module | None = None,
        layers: Sequence[int] = LAYERS,
        fit: Fit = 'squash',
        pgm: Mapping[str, Any] | None = None,
        semantics: Semantics = 'class',
    ) -> None:
        super().__init__()
        if semantics == 'spatial' and fit == 'crop':
            problem = 'expected squash with semantics: spatial, whose maps lie over the whole image, got crop'
            raise OptionsError('fit', problem, 'Use fit: squash or semantics: class')
        self.encoder = encoder
        self.code_dim = code_dim
        self.cfe = cfe
        self.layers = tuple(layers)
        self.fit = fit
        self.semantics = semantics
        self.pgm_options = dict(pgm or {})

    def encoders(self) -> dict[str, FrozenEncoder]:
        """Name the one encoder."""
        return {ENCODER: self.encoder}

    def encode(self, image: Tensor, read: ReadFeatures | None = None) -> dict[str, Tensor]:
        """Give the semantic vectors, (B, 4, D), or maps, (B, 4, D, h, w), and the image, which the code is made of.

        The encoder sees the image in a size of its own, so features that others read of it are of no use here.
        """
        if self.semantics == 'spatial':
            return {IMAGE: image, SEMANTICS: semantic_maps(self.encoder, image, self.layers)}
        return {IMAGE: image, SEMANTICS: semantic_vectors(self.encoder, image, self.layers, self.fit)}

    def forward(self, encodings: Mapping[str, Tensor]) -> Condition:
        """Give the semantic vectors as tokens, or as maps, and the code as vector."""
        code = None if self.cfe is None else self.cfe(encodings[IMAGE])
        return semantic_condition(encodings[SEMANTICS], code)

    def injectors(self, places: Mapping[str, Feature]) -> dict[str, Injector]:
        """Make a prompt guidance module for each place.

        As in the paper's decoder the deepest vector goes to the places of the smallest features, the next one to those
        of the next larger ones, and so on; the shallowest one to all that are larger still.
        """
        scales = sorted({feature.scale for feature in places.values()})
        deepest = len(self.layers) - 1
        return {
            name: self._injector(feature.channels, max(0, deepest - scales.index(feature.scale)))
            for name, feature in places.items()
        }

    def injector(self, channels: int) -> PromptInjector:
        """Make a prompt guidance module for a feature of that width, which is given the deepest vector."""
        return self._injector(channels, len(self.layers) - 1)

    def _injector(self, channels: int, depth: int) -> PromptInjector:
        widths = {'channels': channels, 'semantic_dim': self.encoder.widths[self.layers[depth]]}
        module = construct(prompt_guidance, 'pgm', self.pgm_options, **widths, degradation_dim=self.code_dim)
        return PromptInjector(module, depth)
