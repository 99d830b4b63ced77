"""TKMANet (Chen et al., Learning Multiple Adverse Weather Removal via Two-stage Knowledge Learning, CVPR 2022).

Written from the paper; its network is MSBDN-RDFF (Dong et al., CVPR 2020). Parameter names are those of the authors'
release, so their weights load with ``strict=True``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.inference.padding import SizeRule
from dinoir_plugin.nn.knowledge_transfer import CKTModule, Lesson
from dinoir_plugin.nn.tkmanet_blocks import (
    RDB,
    ConvLayer,
    DecoderFusion,
    EncoderFusion,
    ResidualBlock,
    UpsampleConvLayer,
    residual_blocks,
)
from dinoir_plugin.nn.unreached import joined

LEVELS = (1, 2, 3, 4)  # below full size


@ARCH_REGISTRY.register(suffix='basicsr')
class TKMANet(nn.Module):
    """Restore with TKMANet's student, a U-Net whose features are corrected by those of all other levels.

    Where it learns from ``teachers``, networks of the same kind that are trained for one task each, it holds the layers
    by which features are compared (``ckt``), too; :mod:`~dinoir_plugin.models.transfer_model` asks the teachers.

    Args:
        res_blocks: Residual blocks at the lowest level.
        widths: Channels at full size, half, and so on; each twice the one before.
        teachers: Number of the teachers that it learns from; 0: none.

    Attributes:
        size_multiple: Sides are padded to multiples of this.
        size_minimum: And to this at least, as pixels are mirrored on the lowest level.
        takes_items: What :meth:`forward` takes of a batch.

    Raises:
        OptionsError: Widths that do not double.
    """

    size_multiple = 16
    size_minimum = 32
    takes_items: ClassVar[tuple[str, ...]] = ('lesson',)

    def __init__(
        self, res_blocks: int = 18, widths: Sequence[int] = (16, 32, 64, 128, 256), teachers: int = 0
    ) -> None:
        super().__init__()
        first = widths[0] if widths else 0
        if len(widths) != 5 or first < 2 or first % 2 or list(widths) != [first * 2**level for level in range(5)]:
            expected = 'expected 5 numbers, the first even and each other twice the one before'
            raise OptionsError('widths', f'{expected}, got {list(widths)}')
        self.conv_input = ConvLayer(3, first, 11)
        self.dense0 = residual_blocks(first)
        for level in LEVELS:
            self._add_encoder(level, widths[level - 1], widths[level])
        named = [(f'res{number}', ResidualBlock(widths[-1])) for number in range(res_blocks)]
        self.dehaze = nn.Sequential(OrderedDict(named))
        for level in reversed(LEVELS):
            self._add_decoder(level, widths[level], widths[level - 1])
        self.conv_output = ConvLayer(first, 3, 3)
        if teachers:
            compared = (*widths[2:], widths[-1])
            self.ckt = nn.ModuleList([CKTModule(width, width, width // 2, teachers) for width in compared])
        self.teachers = teachers

    def _add_encoder(self, level: int, above: int, width: int) -> None:
        self.add_module(f'conv{2**level}x', ConvLayer(above, width, 3, stride=2))
        self.add_module(f'conv{level}', RDB(width // 2))
        self.add_module(f'fusion{level}', EncoderFusion(width // 2, level))
        if level < LEVELS[-1]:
            self.add_module(f'dense{level}', residual_blocks(width))

    def _add_decoder(self, level: int, below: int, width: int) -> None:
        self.add_module(f'convd{2**level}x', UpsampleConvLayer(below, width))
        self.add_module(f'dense_{level}', residual_blocks(width))
        self.add_module(f'conv_{level}', RDB(width // 2))
        self.add_module(f'fusion_{level}', DecoderFusion(width // 2, LEVELS[-1] + 1 - level))

    def forward(self, x: Tensor, lesson: Lesson | None = None, return_feat: bool = False) -> Tensor | Outputs:
        """Restore.

        Args:
            x: (B, 3, H, W), RGB in [0, 1]; any size.
            lesson: What the teachers say, in training with teachers.
            return_feat: Whether the features that teachers pass on are wanted, too.

        Returns:
            (B, 3, H, W), not clipped. With ``return_feat`` Outputs, ``aux['features']``: those of level 2, 3, 4 and
            behind the residual blocks. With a lesson Outputs, ``aux['transfers']``, a
            :class:`~dinoir_plugin.nn.knowledge_transfer.Transfer` for each of these, and ``aux['lesson']``.
        """
        height, width = x.shape[-2:]
        image = SizeRule(self.size_multiple, self.size_minimum).pad(x)
        encoded = self._encoded(image)
        lowest = encoded[-1]
        deep = self.dehaze(2 * lowest) + lowest
        out = self.conv_output(self._decoded(deep, encoded[:-1]))[..., :height, :width]
        features = (*encoded[2:], deep)
        if lesson is not None:
            return Outputs(out, aux={'transfers': self._transfers(features, lesson), 'lesson': lesson})
        if return_feat:
            return Outputs(out, aux={'features': features})
        if self.training and self.teachers:
            # the second stage of training goes on without them
            out = joined(out, self.ckt.parameters())
        return out

    def _encoded(self, image: Tensor) -> list[Tensor]:
        """Give the features of all levels, full size first."""
        layers: Any = self._modules
        x = self.conv_input(image)
        half = x.shape[1] // 2
        kept, encoded = [x[:, :half]], [self.dense0(x) + x]
        for level in LEVELS:
            first, second = layers[f'conv{2**level}x'](encoded[-1]).chunk(2, dim=1)
            first = layers[f'fusion{level}'](first, kept)
            kept.append(first)
            x = torch.cat([first, layers[f'conv{level}'](second)], dim=1)
            encoded.append(layers[f'dense{level}'](x) + x if level < LEVELS[-1] else x)
        return encoded

    def _decoded(self, x: Tensor, encoded: Sequence[Tensor]) -> Tensor:
        """Go up to the feature of full size; ``encoded`` are those of the levels above."""
        layers: Any = self._modules
        kept = [x[:, : x.shape[1] // 2]]
        for level in reversed(LEVELS):
            skip = encoded[level - 1]
            up = layers[f'convd{2**level}x'](x, skip)
            both = up + skip
            first, second = (layers[f'dense_{level}'](both) + skip).chunk(2, dim=1)
            first = layers[f'fusion_{level}'](first, kept)
            kept.append(first)
            x = torch.cat([first, layers[f'conv_{level}'](second)], dim=1)
        return x

    def _transfers(self, features: Sequence[Tensor], lesson: Lesson) -> tuple[Any, ...]:
        if len(lesson.counts) != self.teachers:
            raise ValueError(f'expected a lesson of {self.teachers} teachers, as network_g.teachers says, got one of '
                             f'{len(lesson.counts)}')  # fmt: skip
        return tuple(
            compare(wanted, lesson.counts, feature.index_select(0, lesson.order))
            for compare, wanted, feature in zip(self.ckt, lesson.features, features)
        )
