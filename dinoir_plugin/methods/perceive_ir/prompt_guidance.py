"""Change a feature by semantics and the degradation code: the prompt guidance module of Perceive-IR (PGM, E6)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dinoir_plugin.guidance.condition import Condition, Upsampling
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.methods.perceive_ir.semantic_condition import semantics_at

PGMType = Literal['release', 'figure']


class ModulatesFeature(nn.Module):
    """Scale and shift the channels of a feature.

    Args:
        channels: C, of the feature.
        semantic_dim: D, length of the semantic vector F.
        degradation_dim: Length of the code Z.
        zero_start: Whether at first the feature stays as it is (not in the release).
        normalise: Whether F goes through a LayerNorm of its own (not in the paper). It is not normalised otherwise, and
            at the start outweighs the code, which has unit length, 20 to 60 times.
    """

    def __init__(
        self,
        channels: int,
        semantic_dim: int,
        degradation_dim: int,
        zero_start: bool = False,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(semantic_dim) if normalise else None
        self.make(channels, semantic_dim + degradation_dim)
        if zero_start:
            self.start_as_identity()

    @abstractmethod
    def make(self, channels: int, joined: int) -> None:
        """Make the layers, from both vectors, joined, to what changes so many channels."""

    @abstractmethod
    def start_as_identity(self) -> None:
        """Set the last layers so that the feature stays as it is."""

    @abstractmethod
    def modulation(self, semantics: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Give what the channels are multiplied with and what is added, (B, C) each; arguments as :meth:`forward`."""

    def forward(self, x: Tensor, semantics: Tensor | Upsampling, code: Tensor) -> Tensor:
        """Modulate.

        Args:
            x: (B, C, H, W), channels_last is the layout that needs no copy.
            semantics: F, (B, D); or a map of such vectors, (B, D, h, w), and how to upsample it to the grid of ``x``:
                then factor and shift of each cell are upsampled (bilinear).
            code: Z, (B, degradation_dim).

        Returns:
            Y, the same shape as ``x``, in its layout; channels_last where ``semantics`` is a map.
        """
        if isinstance(semantics, Upsampling):
            factor, shift = (change.to(x.dtype) for change in self._spread(semantics, code))
        else:
            factor, shift = (vector.to(x.dtype)[..., None, None] for vector in self.modulation(semantics, code))
        return torch.addcmul(shift, x, factor)

    def _spread(self, semantics: Upsampling, code: Tensor) -> Iterator[Tensor]:
        batch, _, rows, columns = semantics.map.shape
        cells = semantics.map.permute(0, 2, 3, 1).flatten(0, 2)
        for change in self.modulation(cells, code.repeat_interleave(rows * columns, dim=0)):
            yield semantics.spread(change.unflatten(0, (batch, rows, columns)).permute(0, 3, 1, 2))

    def _normed(self, semantics: Tensor, weight: Tensor) -> Tensor:
        semantics = semantics.to(weight.dtype)
        return semantics if self.norm is None else self.norm(semantics)


class PromptGuidanceModule(ModulatesFeature):
    """Modulate as the authors' release does, with its parameter names: ``(1 + gamma) x + beta``.

    ``(gamma, beta) = Linear(GELU(Linear([F, Z])))``. Arguments as :class:`ModulatesFeature`.
    """

    def make(self, channels: int, joined: int) -> None:
        """Make the two layers."""
        first = nn.Linear(joined, channels * 2)
        self.affine: Any = nn.Sequential(first, nn.GELU(), nn.Linear(channels * 2, channels * 2))

    def start_as_identity(self) -> None:
        """Start with gamma and beta 0."""
        for parameter in self.affine[2].parameters():
            nn.init.zeros_(parameter)

    def gamma_beta(self, semantics: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Give gamma and beta, (B, C) each; arguments as :meth:`forward`."""
        weight = self.affine[0].weight
        joined = torch.cat([self._normed(semantics, weight), code.to(weight.dtype)], dim=-1)
        gamma, beta = self.affine(joined).chunk(2, dim=-1)
        return gamma, beta

    def modulation(self, semantics: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Give ``1 + gamma`` and ``beta``."""
        gamma, beta = self.gamma_beta(semantics, code)
        return 1 + gamma, beta


class TwoBranchGuidance(ModulatesFeature):
    """Modulate as the paper's figure has it: ``gamma x + beta``, each of them ``Conv(Linear([Z, F]))``.

    The convolution is 3x3, and what it sees is the same everywhere: its edges are repeated. Arguments as
    :class:`ModulatesFeature`.
    """

    def make(self, channels: int, joined: int) -> None:
        """Make the two branches."""
        self.linears: Any = nn.ModuleList(nn.Linear(joined, channels) for _ in range(2))
        self.convs: Any = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode='replicate') for _ in range(2)
        )

    def start_as_identity(self) -> None:
        """Start with gamma 1 and beta 0."""
        for conv, bias in zip(self.convs, (1.0, 0.0)):
            nn.init.zeros_(conv.weight)
            nn.init.constant_(conv.bias, bias)

    def modulation(self, semantics: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Give gamma and beta."""
        weight = self.linears[0].weight
        joined = torch.cat([code.to(weight.dtype), self._normed(semantics, weight)], dim=-1)
        gamma, beta = (
            conv(linear(joined)[..., None, None]).flatten(1) for linear, conv in zip(self.linears, self.convs)
        )
        return gamma, beta


class PromptInjector(Injector):
    """Guide a feature of any backbone by a prompt guidance module.

    Args:
        module: Modulates the feature.
        depth: Of the semantics that it is given, from 0, the shallowest.
    """

    def __init__(self, module: ModulatesFeature, depth: int) -> None:
        super().__init__()
        self.module = module
        self.depth = depth

    def forward(self, feature: Tensor, condition: Condition) -> Tensor:
        """Guide a feature, (B, C, H, W), by a condition that holds semantics and a code.

        Raises:
            ValueError: It lacks one of them.
        """
        if condition.vector is None:
            raise ValueError('expected a condition with a code as vector (B, D), got one without')
        guided: Tensor = self.module(feature, semantics_at(condition, self.depth, feature), condition.vector)
        return guided


def prompt_guidance(
    channels: int,
    semantic_dim: int,
    degradation_dim: int,
    pgm_type: PGMType = 'release',
    zero_start: bool = False,
    normalise: bool = False,
) -> ModulatesFeature:
    """Make the module in one of its forms.

    Args:
        channels: C, of the feature.
        semantic_dim: Length of a semantic vector.
        degradation_dim: Length of the code.
        pgm_type: ``release`` (one network for both) or ``figure`` (a branch each).
        zero_start: Whether at first the feature stays as it is (not in the release).
        normalise: Whether semantic vectors go through a LayerNorm (not in the release).
    """
    form = PromptGuidanceModule if pgm_type == 'release' else TwoBranchGuidance
    return form(channels, semantic_dim, degradation_dim, zero_start, normalise)
