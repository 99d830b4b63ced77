"""The degradation code of Perceive-IR (E5): a vector of unit length for each image."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.nn.precision import full

CFEType = Literal['release', 'figure']
CODE_DIM = 128


class CompactFeatureExtraction(nn.Module):
    """Make the code as the authors' release does, with its parameter names: four halving convolutions and a pooling.

    Args:
        output_dim: Length of the code.
    """

    def __init__(self, output_dim: int = CODE_DIM) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, behind in pairwise(widths):
            layers += [nn.Conv2d(before, behind, 3, stride=2, padding=1), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.projection = nn.Linear(widths[-1], output_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Take (B, 3, H, W), RGB in [0, 1], any size, to the code, (B, output_dim), of unit length, float32."""
        return F.normalize(full(self.projection(self.body(image).mean(dim=(2, 3)))), dim=-1)


class _ResidualPiece(nn.Module):
    """Halve the size by (convolution, LeakyReLU, convolution), with a shortcut."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, stride=2, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )  # fmt: skip
        self.shortcut = nn.Conv2d(channels, out_channels, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class ResidualFeatureExtraction(nn.Module):
    """Make the code as the paper's figure has it: two residual pieces, a pooling, two linear layers with LeakyReLU.

    The figure gives no widths: here they are 32 and 64, and each piece halves the size. The code has unit length as the
    release's, which the contrastive loss relies on.

    Args:
        output_dim: Length of the code.
    """

    def __init__(self, output_dim: int = CODE_DIM) -> None:
        super().__init__()
        self.body = nn.Sequential(_ResidualPiece(3, 32), _ResidualPiece(32, 64))
        self.projection = nn.Sequential(nn.Linear(64, output_dim), nn.LeakyReLU(0.1), nn.Linear(output_dim, output_dim))

    def forward(self, image: Tensor) -> Tensor:
        """Make the code; see :meth:`CompactFeatureExtraction.forward`."""
        return F.normalize(full(self.projection(self.body(image).mean(dim=(2, 3)))), dim=-1)


def code_extractor(cfe_type: CFEType = 'release', output_dim: int = CODE_DIM) -> nn.Module:
    """Make the module for the code in one of its forms.

    Args:
        cfe_type: ``release`` (four strided convolutions) or ``figure`` (two residual pieces).
        output_dim: Length of the code.
    """
    return (CompactFeatureExtraction if cfe_type == 'release' else ResidualFeatureExtraction)(output_dim)
