"""DINO-IR as a guidance method: PSF makes one guide of the encoder's levels, D-R fusion brings it to the backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.core.construct import construct
from dinoir_plugin.encoders.frozen import FrozenEncoder
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.method import GuidanceMethod, ReadFeatures
from dinoir_plugin.methods.dinoir.dr_fusion import GUIDE, DRFusion
from dinoir_plugin.methods.dinoir.psf import FORMS, PixelSemanticFusion

ENCODER = 'encoder'  # the option's key in network_g


class DINOIR(GuidanceMethod):
    """Guide by a frozen encoder's shallow, medium and deep features (arXiv 2312.01677).

    Args:
        encoder: Looks at the degraded image.
        layers: Name of each level to its layer of the encoder, in the order of the experts; the first one's grid is
            the guide's.
        psf: Makes the guide, ``psf.dim`` wide.
        fusion: Arguments of :class:`~dinoir_plugin.methods.dinoir.dr_fusion.DRFusion` but the widths.

    Attributes:
        psf_scores: The gate's scores in the last forward, (B, levels), without gradient; None before the first.
    """

    psf_scores: Tensor | None

    def __init__(
        self,
        encoder: FrozenEncoder,
        layers: Mapping[str, int],
        psf: PixelSemanticFusion,
        fusion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = dict(layers)
        self.psf = psf
        self.fusion_options = dict(fusion or {})
        self.psf_scores = None

    def encoders(self) -> dict[str, FrozenEncoder]:
        """Name the one encoder."""
        return {ENCODER: self.encoder}

    def wants(self) -> dict[FrozenEncoder, Sequence[int]]:
        """Name the layers of the levels."""
        return {self.encoder: tuple(self.layers.values())}

    def encode(self, image: Tensor, read: ReadFeatures | None = None) -> dict[int, Tensor]:
        """Give the features of the levels: layer to (B, C, h, w).

        For the literal PSF each goes through the encoder's own final norm: features of a transformer before it carry a
        few very large channels, which that norm's weights make small.
        """
        layers = tuple(self.layers.values())
        features = self.encoder(image, layers) if read is None else read(self.encoder, layers)
        change = self.encoder.normalised if self.psf.literal else (lambda feature: feature)
        return {layer: change(features[layer]) for layer in layers}

    def forward(self, encodings: Mapping[int, Tensor]) -> Condition:
        """Fuse the levels into the map ``guide``, (B, dim, h, w) on the grid of the first level."""
        guide, scores = self.psf([encodings[layer] for layer in self.layers.values()])
        if not torch.compiler.is_exporting():
            self.psf_scores = scores.detach()
        return Condition(maps={GUIDE: guide})

    def injector(self, channels: int) -> DRFusion:
        """Make a D-R fusion for a feature of that width."""
        made: DRFusion = construct(
            DRFusion, 'fusion', self.fusion_options, channels=channels, guide_channels=self.psf.dim
        )
        return made

    def explain_misfit(self, state: Mapping[str, Tensor]) -> str:
        """Tell the two forms of PSF apart."""
        literal = 'psf.norms.0.weight' in state
        if literal == self.psf.literal or not any(key.startswith('psf.') for key in state):
            return ''
        return f'was trained with network_g.psf.form: {FORMS[0] if literal else FORMS[1]}'

    def scalars(self) -> dict[str, Tensor]:
        """Give the gate's mean scores as ``psf/<level>``."""
        if self.psf_scores is None:
            return {}
        return {f'psf/{level}': score for level, score in zip(self.layers, self.psf_scores.mean(dim=0))}
