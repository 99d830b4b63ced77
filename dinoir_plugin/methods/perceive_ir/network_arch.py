"""The networks of Perceive-IR (arXiv 2408.15994), with the parameter names of the authors' release.

Both have the shape of Restormer with biases, but for the last decoder level, which is as wide as the first encoder
level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.methods.perceive_ir.blocks import EnhancedStage, plain_stage
from dinoir_plugin.methods.perceive_ir.degradation_code import CODE_DIM, CFEType, code_extractor
from dinoir_plugin.methods.perceive_ir.prompt_guidance import PGMType, prompt_guidance
from dinoir_plugin.methods.perceive_ir.semantic_condition import has_semantics, semantic_condition, semantics_at
from dinoir_plugin.nn.restormer_shape import downsample, upsample

LEVELS = 4
SEMANTIC_DIM = 768  # DINOv2-B


class _Trunk(nn.Module):
    """Hold what both networks have in common.

    Args:
        dim: Width at full size; it doubles with each of the three halvings.
        blocks: Blocks of level 1, 2, 3 and of the lowest level.
        heads: Attention heads of these.
        refinement_blocks: Blocks after the decoder.
        stage: From width, heads and number of blocks to the lowest level and those of the decoder.
    """

    size_multiple = 8

    def __init__(
        self,
        dim: int,
        blocks: Sequence[int],
        heads: Sequence[int],
        refinement_blocks: int,
        stage: Callable[[int, int, int], nn.Module],
    ) -> None:
        super().__init__()
        widths = _widths(dim, blocks, heads)
        self.embed = nn.Conv2d(3, dim, 3, padding=1)
        self.encoder1, self.encoder2, self.encoder3 = map(plain_stage, widths[:3], heads, blocks)
        self.down1, self.down2, self.down3 = (downsample(width, bias=True) for width in widths[:3])
        self.latent = stage(widths[3], heads[3], blocks[3])
        self.up3, self.up2, self.up1 = (upsample(width, bias=True) for width in widths[:0:-1])
        self.reduce3, self.reduce2, self.reduce1 = (nn.Conv2d(width * 2, width, 1) for width in widths[2::-1])
        self.decoder3, self.decoder2, self.decoder1 = map(stage, widths[2::-1], heads[2::-1], blocks[2::-1])
        self.refinement = plain_stage(dim, heads[0], refinement_blocks)
        self.output = nn.Conv2d(dim, 3, 3, padding=1)

    def restored(self, image: Tensor, through: Callable[[nn.Module, int, Tensor], Tensor]) -> Tensor:
        """Restore.

        Args:
            image: (B, 3, H, W), channels_last, sides that ``size_multiple`` divides.
            through: Takes a feature through a stage, the lowest or one of the decoder; the level is counted from 0.
        """
        level1 = self.encoder1(self.embed(image))
        level2 = self.encoder2(self.down1(level1))
        level3 = self.encoder3(self.down2(level2))
        x = through(self.latent, 3, self.down3(level3))
        x = through(self.decoder3, 2, self.reduce3(torch.cat([self.up3(x), level3], dim=1)))
        x = through(self.decoder2, 1, self.reduce2(torch.cat([self.up2(x), level2], dim=1)))
        x = through(self.decoder1, 0, self.reduce1(torch.cat([self.up1(x), level1], dim=1)))
        out: Tensor = self.output(self.refinement(x)) + image
        return out

    def padded(self, image: Tensor) -> Tensor:
        """Give an image as the network sees it: padded to multiples of ``size_multiple``, channels_last."""
        return pad_to_multiple(image, self.size_multiple).contiguous(memory_format=torch.channels_last)


@ARCH_REGISTRY.register(suffix='basicsr')
class RestormerMedium(_Trunk):
    """Restore with the Restormer of Perceive-IR's first stage, whose images are of medium quality.

    Args:
        dim: Width at full size; it doubles with each of the three halvings.
        blocks: Blocks of level 1, 2, 3 and of the lowest level.
        heads: Attention heads of level 1, 2, 3 and of the lowest level.
        refinement_blocks: Blocks after the decoder.

    Raises:
        OptionsError: Arguments that do not fit together.
    """

    def __init__(
        self,
        dim: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        heads: Sequence[int] = (1, 2, 4, 8),
        refinement_blocks: int = 4,
    ) -> None:
        super().__init__(dim, blocks, heads, refinement_blocks, plain_stage)

    def forward(self, image: Tensor) -> Tensor:
        """Restore.

        Args:
            image: (B, 3, H, W), RGB in [0, 1]; any size.

        Returns:
            The same shape, not clipped.
        """
        height, width = image.shape[-2:]
        return self.restored(self.padded(image), lambda stage, level, x: stage(x))[..., :height, :width]


@ARCH_REGISTRY.register(suffix='basicsr')
class PerceiveIR(_Trunk):
    """Restore with the network of Perceive-IR's second stage.

    The lowest level and the decoder are of enhanced blocks, queried by features that are modulated by four semantic
    vectors of the degraded image and by its degradation code. The vectors come from a frozen encoder outside of the
    network (``PerceiveIRArch``); the code is the network's own.

    Args:
        dim: Width at full size; it doubles with each of the three halvings.
        blocks: Blocks of level 1, 2, 3 and of the lowest level.
        heads: Attention heads of level 1, 2, 3 and of the lowest level.
        refinement_blocks: Blocks after the decoder.
        semantic_dim: Length of the semantic vectors, which is the encoder's width.
        code_dim: Length of the degradation code.
        extra_mdta: Whether enhanced blocks have a second attention, as in the release; without it they are those of the
            paper's figure.
        pgm_type: What makes factors and shifts: ``release`` (one network for both) or ``figure`` (a branch each).
        cfe_type: What makes the code: ``release`` (four strided convolutions) or ``figure`` (two residual pieces).
        zero_start: Whether at first features are not modulated (not in the release).
        normalise: Whether semantic vectors go through a LayerNorm (not in the release).

    Attributes:
        takes_condition: :meth:`forward` takes what a guidance method found.

    Raises:
        OptionsError: Arguments that do not fit together.
    """

    takes_condition = True

    def __init__(
        self,
        dim: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        heads: Sequence[int] = (1, 2, 4, 8),
        refinement_blocks: int = 4,
        semantic_dim: int = SEMANTIC_DIM,
        code_dim: int = CODE_DIM,
        extra_mdta: bool = True,
        pgm_type: PGMType = 'release',
        cfe_type: CFEType = 'release',
        zero_start: bool = False,
        normalise: bool = False,
    ) -> None:
        def stage(channels: int, heads: int, count: int) -> EnhancedStage:
            return EnhancedStage(channels, heads, count, extra_mdta)

        super().__init__(dim, blocks, heads, refinement_blocks, stage)
        self.semantic_dim = semantic_dim
        self.code_dim = code_dim
        self.cfe = code_extractor(cfe_type, code_dim)
        self.pgm = nn.ModuleList(
            prompt_guidance(dim << level, semantic_dim, code_dim, pgm_type, zero_start, normalise)
            for level in range(LEVELS)
        )

    def forward(
        self,
        image: Tensor,
        semantics: Sequence[Tensor] | None = None,
        code: Tensor | None = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Restore.

        Args:
            image: Degraded, (B, 3, H, W), RGB in [0, 1]; any size.
            semantics: F1 to F4, (B, semantic_dim) each, from shallow to deep, or maps of such vectors over the whole
                image, (B, semantic_dim, h, w) each; F4 goes to the lowest level, F1 to the last one of the decoder.
                Left out: zeros, so that the code alone guides.
            code: Z, (B, code_dim), where the caller has it already, of the whole image that this is a tile of.
            condition: Holds ``semantics`` and ``code`` in place of those two, as
                :func:`~dinoir_plugin.methods.perceive_ir.semantic_condition.semantic_condition` makes it.

        Returns:
            The same shape as ``image``, not clipped.

        Raises:
            ValueError: Semantic vectors or a code of another shape.
        """
        height, width = image.shape[-2:]
        padded = self.padded(image)
        known = self._known(semantics, code, condition)
        if not has_semantics(known):
            known = known._replace(tokens=padded.new_zeros(len(padded), LEVELS, self.semantic_dim))
        own = self.cfe(padded) if known.vector is None else known.vector

        def through(stage: nn.Module, level: int, x: Tensor) -> Tensor:
            out: Tensor = stage(x, self.pgm[level](x, semantics_at(known, level, x), own))
            return out

        return self.restored(padded, through)[..., :height, :width]

    def extract_code(self, image: Tensor) -> Tensor:
        """Give Z, (B, code_dim), of unit length, for a degraded image, (B, 3, H, W), RGB in [0, 1], any size."""
        code: Tensor = self.cfe(self.padded(image))
        return code

    def _known(
        self, semantics: Sequence[Tensor] | None, code: Tensor | None, condition: Condition | None
    ) -> Condition:
        """Give as a condition what :meth:`forward` was given, once its shapes are right."""
        if condition is not None:
            self._check(None if condition.tokens is None else condition.tokens.unbind(dim=1), condition.vector)
            return condition
        self._check(semantics, code)
        if semantics is None:
            return Condition(vector=code)
        return semantic_condition(torch.stack(tuple(semantics), dim=1), code)

    def _check(self, semantics: Sequence[Tensor] | None, code: Tensor | None) -> None:
        if semantics is not None:
            shapes = [tuple(vector.shape[1:]) for vector in semantics]
            if [shape[:1] for shape in shapes] != [(self.semantic_dim,)] * LEVELS or len(set(shapes)) > 1:
                expected = f'expected {LEVELS} semantic vectors (B, {self.semantic_dim}), or maps of them'
                raise ValueError(f'{expected}, got {[("B", *shape) for shape in shapes]}')
        if code is not None and code.shape[1:] != (self.code_dim,):
            raise ValueError(f'expected a degradation code (B, {self.code_dim}), got {tuple(code.shape)}')


def _widths(dim: int, blocks: Sequence[int], heads: Sequence[int]) -> list[int]:
    """Give the width of each level.

    Raises:
        OptionsError: The arguments do not fit together.
    """
    for key, value in (('blocks', blocks), ('heads', heads)):
        if len(value) != LEVELS:
            raise OptionsError(key, f'expected 4 numbers (level 1, 2, 3, lowest), got {list(value)}')
    widths = [dim << level for level in range(LEVELS)]
    if dim % 2 or any(width % count for width, count in zip(widths, heads)):
        expected = f"expected divisors of the levels' widths {widths} (and an even dim)"
        raise OptionsError('heads', f'{expected}, got {list(heads)}')
    return widths
