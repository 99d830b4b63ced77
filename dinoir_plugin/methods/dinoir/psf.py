"""Pixel-semantic fusion: shallow, medium and deep features of the encoder become one guide."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Expert(nn.Sequential):
    """Adapt one level, the CNN expert of eq. 1: channel norm, 1x1 to ``dim``, GELU, 3x3.

    Features of a transformer before its final norm carry a few very large channels; the norm keeps these from
    drowning the rest.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__(
            nn.GroupNorm(1, in_channels),
            nn.Conv2d(in_channels, dim, 1),
            nn.GELU(),
            nn.Conv2d(dim, dim, 3, padding=1),
        )


class PixelSemanticFusion(nn.Module):
    r"""Fuse the levels of an encoder into one guide, the paper's PSF module (arXiv 2312.01677, eq. 1-4).

    .. math::
        F'_i &= E_i(F_i), \quad i \in \{S, M, D\}               && (1) \\
        g    &= \mathrm{MLP}(\mathrm{GAP}([F'_S, F'_M, F'_D]))  && (2) \\
        s    &= \mathrm{softmax}(g)                             && (3) \\
        F    &= \sum_i s_i F'_i                                 && (4)

    Shallow features carry pixels, deep ones semantics; the gate weighs them for each image.

    What the paper leaves open, and what is done here: the experts' depth (a 1x1 and a 3x3 convolution after a norm),
    their width ``dim`` (narrower than the encoder, which keeps guidance cheap), and what the gate looks at (the
    experts' outputs, which have one width and one grid whatever the encoder's levels have).

    Args:
        in_channels: Width of each feature, in the order in which they are given. Any number of them from one.
        dim: Width of the fused feature.
        reduction: The gate's hidden width is ``dim * len(in_channels) / reduction``.
    """

    def __init__(self, in_channels: Sequence[int], dim: int = 192, reduction: int = 4) -> None:
        super().__init__()
        count = len(in_channels)
        self.dim = dim
        self.experts = nn.ModuleList(Expert(channels, dim) for channels in in_channels)
        hidden = max(dim * count // reduction, count)
        self.gate = nn.Sequential(nn.Linear(dim * count, hidden), nn.GELU(), nn.Linear(hidden, count))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            features: One (B, C_i, h_i, w_i) for each expert. Grids that differ from the first one's are resized to
                it (bilinear).

        Returns:
            The fused feature (B, dim, h, w) and the scores (B, count), each row summing to 1.
        """
        outputs = [expert(feature) for expert, feature in zip(self.experts, features)]
        grid = outputs[0].shape[-2:]
        outputs = [
            x if x.shape[-2:] == grid else F.interpolate(x, size=grid, mode='bilinear', align_corners=False)
            for x in outputs
        ]
        pooled = torch.cat([x.mean(dim=(-2, -1)) for x in outputs], dim=1)
        scores = self.gate(pooled).softmax(dim=1)
        weighted = [x * score.view(-1, 1, 1, 1) for x, score in zip(outputs, scores.unbind(dim=1))]
        return torch.stack(weighted).sum(dim=0), scores
