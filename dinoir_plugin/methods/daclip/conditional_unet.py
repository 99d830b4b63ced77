"""DA-CLIP's U-Net, which predicts the noise in a step of IR-SDE, written from the paper's description.

Names of parameters are those of the authors' release, so their weights load with ``strict=True``: those of the ten
degradations (``universal-ir.pth``) and, with ``scale=0.5``, of degradations in the wild (``wild-ir.pth``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.methods.daclip.prompt import Prompted
from dinoir_plugin.methods.daclip.spatial_transformer import GROUPS, SpatialTransformer
from dinoir_plugin.methods.daclip.unet_blocks import Attended, LinearAttention, ResBlock, Upsample, downsample
from dinoir_plugin.nn.time_embedding import TimeEmbedding

SCALES = (1.0, 0.5)
# with use_image_context attention among all pixels begins at this level, from zero
SPATIAL_LEVEL = 3


@ARCH_REGISTRY.register()
class ConditionalUNet(Prompted):
    """Predict the noise in an image on its way from the degraded to the clean one.

    Args:
        in_nc: Channels of an image.
        out_nc: Channels of the noise.
        nf: Width at full size.
        ch_mult: Width behind each level over ``nf``; a level halves the sides, but for the last one.
        context_dim: Width of both embeddings of DA-CLIP.
        use_degra_context: Whether the degradation's embedding modulates all residual blocks, by a learned prompt.
        use_image_context: Whether pixels at the lowest levels attend to each other and to the content's embedding;
            there is linear attention at all other places, and at these too without it. Levels are those from the
            fourth on, or with ``scale`` 0.5 the last one, and the middle.
        scale: 1, or 0.5: all levels lie at half of that size (the form for degradations in the wild).

    Attributes:
        size_multiple: Sides are padded to multiples of this.

    Raises:
        OptionsError: A scale that there is not, or widths that heads of 32 channels do not divide.
    """

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        context_dim: int = 512,
        use_degra_context: bool = True,
        use_image_context: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if scale not in SCALES:
            raise OptionsError('scale', f'expected 1 or 0.5, got {scale}')
        self.size_multiple = 2 ** len(ch_mult)
        self.halved, self.context_dim = scale < 1, context_dim
        self.use_degra_context, self.use_image_context = use_degra_context, use_image_context
        time_dim = nf * 4
        self.init_conv = nn.Conv2d(in_nc * 2, nf, 7, padding=3, bias=False)
        self.time_mlp = nn.Sequential(
            TimeEmbedding(nf), nn.Linear(nf, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim)
        )
        if use_degra_context:
            self.add_prompt(context_dim, time_dim)
        if self.halved:
            self.downsample = downsample(nf, nf)
            self.upsample = Upsample(nf, nf)
        self._add_levels([nf, *(nf * factor for factor in ch_mult)], time_dim)
        self.final_res_block = ResBlock(nf * 2, nf, time_dim)
        self.final_conv = nn.Conv2d(nf, out_nc, 3, padding=1)

    def _add_levels(self, widths: Sequence[int], time_dim: int) -> None:
        """Build the levels and the middle; ``widths`` are those before the first and behind each level."""
        self.downs: Any = nn.ModuleList()
        self.ups: Any = nn.ModuleList()
        depth = len(widths) - 1
        first_spatial = depth - 1 if self.halved else SPATIAL_LEVEL
        for level, (width, behind) in enumerate(pairwise(widths)):
            last, spatial = level == depth - 1, self.use_image_context and level >= first_spatial
            self.downs.append(nn.ModuleList([
                ResBlock(width, width, time_dim),
                ResBlock(width, width, time_dim),
                self._attention(width, spatial),
                nn.Conv2d(width, behind, 3, padding=1, bias=False) if last else downsample(width, behind),
            ]))  # fmt: skip
            self.ups.insert(0, nn.ModuleList([
                ResBlock(behind + width, behind, time_dim),
                ResBlock(behind + width, behind, time_dim),
                self._attention(behind, spatial),
                Upsample(behind, width) if level else nn.Conv2d(behind, width, 3, padding=1, bias=False),
            ]))  # fmt: skip
        self.mid_block1 = ResBlock(widths[-1], widths[-1], time_dim)
        self.mid_attn = self._attention(widths[-1], self.use_image_context)
        self.mid_block2 = ResBlock(widths[-1], widths[-1], time_dim)

    def _attention(self, width: int, spatial: bool) -> Attended:
        if not spatial:
            return Attended(width, LinearAttention(width))
        if width % GROUPS:
            problem = f'expected widths that {GROUPS} divides where pixels attend to each other, got {width}'
            raise OptionsError('nf', problem, f'Make nf a multiple of {GROUPS}')
        return Attended(width, SpatialTransformer(width, self.context_dim))

    def forward(
        self,
        xt: Tensor,
        cond: Tensor,
        time: float | Tensor,
        text_context: Tensor | None = None,
        image_context: Tensor | None = None,
    ) -> Tensor:
        """Predict.

        Args:
            xt: The image at a time of the diffusion, (B, in_nc, H, W); any size.
            cond: The degraded image, (B, in_nc, H, W), [0, 1] by custom.
            time: A number for all images, or (B,).
            text_context: Embedding of the degradation, (B, context_dim), not normalised; None: without the prompt.
                Not looked at where ``use_degra_context`` is false.
            image_context: Embedding of the content, (B, context_dim), not normalised. Not looked at where
                ``use_image_context`` is false.

        Returns:
            The noise, (B, out_nc, H, W).

        Raises:
            ValueError: ``image_context`` is needed and missing.
        """
        if self.use_image_context and image_context is None:
            raise ValueError(
                f'image_context: expected (B, {self.context_dim}), since use_image_context is true, got None. '
                "Give the embedding of the degraded image's content, or build the network without it."
            )
        height, width = xt.shape[-2:]
        both = pad_to_multiple(torch.cat([xt - cond, cond], dim=1), self.size_multiple)
        first = self.init_conv(both.contiguous(memory_format=torch.channels_last))
        embedding = self._embedded(torch.as_tensor(time, dtype=xt.dtype, device=xt.device).view(-1), text_context)
        x = self.downsample(first) if self.halved else first
        x = self._through_levels(x, embedding, image_context)
        x = self.upsample(x) if self.halved else x
        x = self.final_conv(self.final_res_block(torch.cat([x, first], dim=1), embedding))
        return x[..., :height, :width]

    def _embedded(self, time: Tensor, degradation: Tensor | None) -> Tensor:
        """Embed times (B,), and the degradation where it counts, to (B, time_dim)."""
        embedding: Tensor = self.time_mlp(time)
        if self.use_degra_context and degradation is not None:
            embedding = embedding + self.prompted(degradation)
        return embedding

    def _through_levels(self, x: Tensor, time: Tensor, content: Tensor | None) -> Tensor:
        skips = []
        for block1, block2, attention, down in self.downs:
            x = block1(x, time)
            skips.append(x)
            x = attention(block2(x, time), content)
            skips.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time), content), time)
        for block1, block2, attention, up in self.ups:
            x = block1(torch.cat([x, skips.pop()], dim=1), time)
            x = block2(torch.cat([x, skips.pop()], dim=1), time)
            x = up(attention(x, content))
        return x
