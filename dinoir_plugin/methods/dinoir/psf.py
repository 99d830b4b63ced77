"""Pixel-semantic fusion: shallow, medium and deep features of the encoder become one guide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError, nearest

FORMS = ('literal', 'experts')


class TokenNorm(nn.LayerNorm):
    """Normalise each token, that is each place of a feature map, over its channels."""

    def forward(self, feature: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same; a place does not depend on the others, nor on how many there are."""
        return super().forward(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PixelSemanticFusion(nn.Module):
    r"""Fuse an encoder's levels by the paper's PSF module (arXiv 2312.01677, eq. 1-4).

    .. math::
        F     &= \mathrm{Concat}[F_S, F_M, F_D]            && (1) \\
        s     &= \mathrm{Gating}(F)                        && (2) \\
        F'_i  &= E_i(F_i), \quad i \in \{S, M, D\}         && (3) \\
        F_{D} &= \sum_i s_i F'_i                           && (4)

    Shallow features carry pixels, deep ones semantics; the gate, an MLP, weighs them for each image.

    What the paper leaves open, and what is done here: the experts (a 1x1 and a 3x3 convolution), their width ``dim``
    (narrower than the encoder, which keeps guidance cheap), the mean over space before the MLP and the softmax behind
    it (the paper's learned scores, 0.30, 0.32 and 0.38, sum to one), and a norm of each token before both.

    Args:
        in_channels: Width of each feature, in the order in which they are given. Any number of them from one.
        dim: Width of the fused feature.
        reduction: How many times the gate's input is as wide as its hidden layer.
        form: ``literal`` is the paper's, whose gate looks at the encoder's features; in ``experts`` it looks at what
            the experts give. The latter is what options files that do not say it mean. There each expert begins with
            one norm over channels and space together, so that the guide of a patch is not that of the same place in a
            larger image.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        dim: int = 192,
        reduction: int = 4,
        form: Literal['literal', 'experts'] = 'experts',
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise OptionsError('form', f"there is no form '{form}'", nearest(str(form), FORMS))
        self.dim, self.literal = dim, form == 'literal'
        if self.literal:
            self.norms = nn.ModuleList(TokenNorm(channels) for channels in in_channels)
        self.experts = nn.ModuleList(self._expert(channels) for channels in in_channels)
        count = len(in_channels)
        seen = sum(in_channels) if self.literal else dim * count
        hidden = max(seen // reduction, count)
        self.gate = nn.Sequential(nn.Linear(seen, hidden), nn.GELU(), nn.Linear(hidden, count))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            features: One (B, C_i, h_i, w_i) for each expert. What the experts give on other grids than the first
                one's is resized to that (bilinear).

        Returns:
            The fused feature (B, dim, h, w) and the scores (B, count), each row summing to 1.
        """
        if self.literal:
            features = [norm(feature) for norm, feature in zip(self.norms, features)]
        else:
            # torch 2.11 crashes in the backward pass of a group norm of channels_last features on the CPU; those of one
            # pixel are in both layouts, and contiguous() would leave them as they are
            features = [feature.clone(memory_format=torch.contiguous_format) for feature in features]
        outputs = [expert(feature) for expert, feature in zip(self.experts, features)]
        grid = outputs[0].shape[-2:]
        outputs = [
            x if x.shape[-2:] == grid else F.interpolate(x, size=grid, mode='bilinear', align_corners=False)
            for x in outputs
        ]
        # the mean of a concatenation is the concatenation of the means, whatever grids the levels have
        seen = [x.mean(dim=(-2, -1)) for x in (features if self.literal else outputs)]
        scores = self.gate(torch.cat(seen, dim=1)).softmax(dim=1)
        weighted = [x * score.view(-1, 1, 1, 1) for x, score in zip(outputs, scores.unbind(dim=1))]
        return torch.stack(weighted).sum(dim=0), scores

    def _expert(self, in_channels: int) -> nn.Sequential:
        """Make one CNN expert of eq. 3."""
        norm = [] if self.literal else [nn.GroupNorm(1, in_channels)]
        convolution = nn.Conv2d(in_channels, self.dim, 1)
        return nn.Sequential(*norm, convolution, nn.GELU(), nn.Conv2d(self.dim, self.dim, 3, padding=1))
