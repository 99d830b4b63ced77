"""NAFNet that predicts the noise in a step of IR-SDE (Refusion, Luo et al., CVPRW 2023, arXiv 2304.08291).

Written from the paper's description; names of parameters are those of the authors' release, so their weights load with
``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.nn.channel_norm import ChannelNorm
from dinoir_plugin.nn.nafnet_blocks import NAFBranches, NAFShape, gated
from dinoir_plugin.nn.time_embedding import TimeEmbedding


class _SimpleGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return gated(x)


class ConditionalNAFBlock(NAFBranches):
    """Add NAFNet's two branches, each with a norm before that an embedding, as of the time, scales and shifts.

    Args:
        dim: C.
        time_dim: Width of the embedding, an even number.
        att: See :class:`NAFBranches`.
    """

    def __init__(self, dim: int, time_dim: int, att: nn.Module | None = None) -> None:
        super().__init__(dim, att)
        self.mlp = nn.Sequential(_SimpleGate(), nn.Linear(time_dim // 2, dim * 4))
        self.norm1, self.norm2 = ChannelNorm(dim), ChannelNorm(dim)

    def forward(self, x: Tensor, time: Tensor, *others: Any) -> Tensor:
        """Change (B, C, H, W), channels_last in and out; ``time`` is (B, time_dim), or one row for all.

        ``others`` are for the attention.
        """
        x = x.permute(0, 2, 3, 1)
        shift1, scale1, shift2, scale2 = self.mlp(time)[:, None, None].chunk(4, dim=-1)
        x = x + self.attended(torch.addcmul(shift1, self.norm1(x), scale1 + 1), *others)
        x = x + self.fed_forward(torch.addcmul(shift2, self.norm2(x), scale2 + 1))
        return x.permute(0, 3, 1, 2)


@ARCH_REGISTRY.register()
class ConditionalNAFNet(NAFShape):
    """Predict the noise in an image on its way from the degraded to the clean one.

    Args:
        img_channel: Channels of an image.
        width: Width at full size; it doubles with each halving.
        enc_blk_nums: Blocks of each encoder level, from full size down.
        middle_blk_num: Blocks at the lowest level.
        dec_blk_nums: Blocks of each decoder level, from the lowest up; as many levels as the encoder.

    Raises:
        OptionsError: Encoder and decoder have different numbers of levels.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        enc_blk_nums: Sequence[int] = (),
        middle_blk_num: int = 1,
        dec_blk_nums: Sequence[int] = (),
    ) -> None:
        time_dim = width * 4
        super().__init__(img_channel * 2, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums,
                         lambda dim: ConditionalNAFBlock(dim, time_dim))  # fmt: skip
        self.time_mlp = nn.Sequential(
            TimeEmbedding(width), nn.Linear(width, time_dim * 2), _SimpleGate(), nn.Linear(time_dim, time_dim)
        )

    def forward(self, xt: Tensor, cond: Tensor, time: float | Tensor) -> Tensor:
        """Predict.

        Args:
            xt: The image at a time of the diffusion, (B, img_channel, H, W); any size.
            cond: The degraded image, (B, img_channel, H, W), [0, 1] by custom.
            time: A number for all images, or (B,).

        Returns:
            The noise, (B, img_channel, H, W).
        """
        height, width = xt.shape[-2:]
        embedding = self.time_mlp(torch.as_tensor(time, dtype=xt.dtype, device=xt.device).view(-1))
        noise = self.through(self.padded(torch.cat([xt - cond, cond], dim=1)), embedding)
        return noise[..., :height, :width]
