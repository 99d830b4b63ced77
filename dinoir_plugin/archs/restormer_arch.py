"""Restormer (Zamir et al., CVPR 2022, arXiv 2111.09881), written from the paper.

Parameter names are those of the authors' release, so their weights load with ``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.restormer_shape import Levels, RestormerEncoder, check_residual, upsample


@ARCH_REGISTRY.register(suffix='basicsr')
class Restormer(RestormerEncoder):
    """Restore with Restormer, with the authors' constructor and parameter names.

    Args:
        inp_channels: Channels of the input.
        out_channels: Channels of the output.
        dim: Width at full size; it doubles with each of the three halvings.
        num_blocks: Blocks of level 1, 2, 3 and of the latent level.
        num_refinement_blocks: Blocks after the decoder.
        heads: Attention heads of level 1, 2, 3 and of the latent level.
        ffn_expansion_factor: Hidden width of the feed-forward network over ``dim``.
        bias: Whether convolutions have a bias.
        LayerNorm_type: ``WithBias`` or ``BiasFree``.
        dual_pixel_task: The variant for dual-pixel defocus deblurring (6 channels in, 3 out).

    Raises:
        OptionsError: An argument that cannot be built.
    """

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = 'WithBias',
        dual_pixel_task: bool = False,
    ) -> None:
        if not dual_pixel_task:
            check_residual(inp_channels, out_channels)
        levels = Levels(num_blocks, heads, ffn_expansion_factor, bias, LayerNorm_type)
        super().__init__(inp_channels, dim, levels)
        self.up4_3 = upsample(dim * 8)
        self.reduce_chan_level3 = nn.Conv2d(dim * 8, dim * 4, 1, bias=bias)
        self.decoder_level3 = levels.level(2, dim * 4)
        self.up3_2 = upsample(dim * 4)
        self.reduce_chan_level2 = nn.Conv2d(dim * 4, dim * 2, 1, bias=bias)
        self.decoder_level2 = levels.level(1, dim * 2)
        self.up2_1 = upsample(dim * 2)
        self.decoder_level1 = levels.level(0, dim * 2)
        self.refinement = levels.level(0, dim * 2, num_refinement_blocks)
        self.dual_pixel_task = dual_pixel_task
        if dual_pixel_task:
            self.skip_conv = nn.Conv2d(dim, dim * 2, 1, bias=bias)
        self.output = nn.Conv2d(dim * 2, out_channels, 3, padding=1, bias=bias)

    def forward(self, inp_img: Tensor) -> Tensor:
        """Restore.

        Args:
            inp_img: (B, inp_channels, H, W), [0, 1] by custom; any size.

        Returns:
            (B, out_channels, H, W), not clipped.
        """
        height, width = inp_img.shape[-2:]
        image = pad_to_multiple(inp_img, self.size_multiple).contiguous(memory_format=torch.channels_last)
        embedded = self.patch_embed(image)
        level1, level2, level3, x = self.encoded(embedded)
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), level3], dim=1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), level2], dim=1)))
        x = self.decoder_level1(torch.cat([self.up2_1(x), level1], dim=1))
        x = self.refinement(x)
        x = self.output(x + self.skip_conv(embedded)) if self.dual_pixel_task else self.output(x) + image
        return x[..., :height, :width]
