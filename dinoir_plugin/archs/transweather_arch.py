"""TransWeather (Valanarasu et al., CVPR 2022, arXiv 2111.14813), written from the paper.

One transformer for several weathers: an encoder, a decoder that asks learned queries what the weather is, and
convolutions up to full size. Parameter names are those of the authors' release, so their weights load with
``strict=True``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.inference.padding import SizeRule
from dinoir_plugin.nn.transweather_blocks import ConvTail, Encoder, TaskDecoder


class _TransWeather(nn.Module):
    """Hold what both forms share.

    Attributes:
        size_multiple: Sides are padded to multiples of this.
        size_minimum: The shortest side: the keys of the deepest attention come from patches of 2 by 2 there.
    """

    size_multiple = 16
    size_minimum = 48

    def __init__(
        self, embed_dims: Sequence[int], num_heads: Sequence[int], drop_path_rate: float, normalize: bool
    ) -> None:
        super().__init__()
        _check(embed_dims, num_heads)
        self.normalize = normalize
        self.Tenc = Encoder(embed_dims, num_heads, drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Restore.

        Args:
            x: (B, 3, H, W), RGB in [-1, 1], or in [0, 1] with ``normalize``; any size.

        Returns:
            (B, 3, H, W), RGB, between -1 and 1; the targets of training lie in [0, 1].
        """
        height, width = x.shape[-2:]
        image = SizeRule(self.size_multiple, self.size_minimum).pad(x).contiguous(memory_format=torch.channels_last)
        restored = self._restored(image * 2 - 1 if self.normalize else image)
        return restored[..., :height, :width]

    def _restored(self, image: Tensor) -> Tensor:
        raise NotImplementedError


@ARCH_REGISTRY.register(suffix='basicsr')
class TransWeather(_TransWeather):
    """Restore with TransWeather, with the authors' parameter names.

    There is no addition of the input: the output is a tanh of features.

    Args:
        embed_dims: Width of each of the encoder's four stages.
        num_heads: Attention heads of each stage.
        decoder_heads: Attention heads of the queries.
        drop_path_rate: How often the last block is left out for an image in training; it rises linearly from 0.
        normalize: Whether images come in [0, 1], as everywhere in this package, and are taken to [-1, 1] here; the
            authors do that before.

    Attributes:
        size_multiple: Sides are padded to multiples of this.
        size_minimum: The shortest side.
        graph_minimum: The same of an exported graph, which does not hold a task feature of one pixel.

    Raises:
        OptionsError: Other than four stages, or heads that do not divide a width.
    """

    graph_minimum = 65

    def __init__(
        self,
        embed_dims: Sequence[int] = (64, 128, 320, 512),
        num_heads: Sequence[int] = (1, 2, 4, 4),
        decoder_heads: int = 8,
        drop_path_rate: float = 0.1,
        normalize: bool = False,
    ) -> None:
        super().__init__(embed_dims, num_heads, drop_path_rate, normalize)
        if decoder_heads < 1 or embed_dims[3] % decoder_heads:
            problem = f'expected a divisor of the last of embed_dims ({embed_dims[3]}), got {decoder_heads}'
            raise OptionsError('decoder_heads', problem)
        self.Tdec = TaskDecoder(embed_dims[3], decoder_heads, drop_path_rate)
        self.convtail = ConvTail(embed_dims, has_task=True)
        self.clean = _clean()

    def _restored(self, image: Tensor) -> Tensor:
        features = self.Tenc(image)
        return self.clean(self.convtail(features, self.Tdec(features[3]))).tanh()


@ARCH_REGISTRY.register(suffix='basicsr')
class TransWeatherBase(_TransWeather):
    """Restore with the authors' base form, without queries; errors as :class:`TransWeather`.

    Args:
        embed_dims: Width of each of the encoder's four stages.
        num_heads: Attention heads of each stage.
        drop_path_rate: How often the last block is left out for an image in training; it rises linearly from 0.
        normalize: Whether images come in [0, 1] and are taken to [-1, 1] here, as for :class:`TransWeather`.
    """

    def __init__(
        self,
        embed_dims: Sequence[int] = (64, 128, 320, 512),
        num_heads: Sequence[int] = (1, 2, 4, 4),
        drop_path_rate: float = 0.1,
        normalize: bool = False,
    ) -> None:
        super().__init__(embed_dims, num_heads, drop_path_rate, normalize)
        self.convproj = ConvTail(embed_dims, has_task=False)
        self.clean = _clean()

    def _restored(self, image: Tensor) -> Tensor:
        return self.clean(self.convproj(self.Tenc(image))).tanh()


def _clean() -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv2d=nn.Conv2d(8, 3, 3, padding=1)))


def _check(embed_dims: Sequence[int], num_heads: Sequence[int]) -> None:
    for name, values in (('embed_dims', embed_dims), ('num_heads', num_heads)):
        if len(values) != 4:
            raise OptionsError(name, f'expected 4 numbers, one a stage, got {len(values)}')
    # the branches beside the stages have the width of the next stage
    needed = [*zip(num_heads, embed_dims), *zip((num_heads[0], num_heads[1], num_heads[1]), embed_dims[1:])]
    for heads, dim in needed:
        if heads < 1 or dim % heads:
            problem = f'expected divisors of the widths {tuple(embed_dims)}, got {heads} for {dim}'
            raise OptionsError('num_heads', problem)
