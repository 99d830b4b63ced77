"""NAFNet (Chen et al., ECCV 2022, arXiv 2204.04676), written from the paper.

Parameter names are those of the authors' release, so their weights load with ``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.nn.nafnet_blocks import NAFShape


@ARCH_REGISTRY.register(suffix='basicsr')
class NAFNet(NAFShape):
    """Restore with NAFNet, with the authors' constructor and parameter names.

    Args:
        img_channel: Channels of input and output.
        width: Width at full size; it doubles with each halving.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each encoder level, from full size down.
        dec_blk_nums: Blocks of each decoder level, from the lowest up; as many levels as the encoder.
        zero_end: Whether the last convolution starts from zero, so that the untrained network gives back its input. The
            authors' does not; a training of minutes spends the first of them on finding its input (ours).

    Raises:
        OptionsError: Encoder and decoder have different numbers of levels.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        zero_end: bool = False,
    ) -> None:
        super().__init__(img_channel, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        if zero_end:
            for parameter in self.ending.parameters():
                nn.init.zeros_(parameter)

    def forward(self, inp: Tensor) -> Tensor:
        """Restore.

        Args:
            inp: (B, img_channel, H, W), [0, 1] by custom; any size. Sides that ``size_multiple`` does not divide are
                padded with zeros, as the authors do; their means in the channel attention include that border.

        Returns:
            (B, img_channel, H, W), not clipped.
        """
        height, width = inp.shape[-2:]
        image = self.padded(inp)
        return (self.through(image) + image)[..., :height, :width]
