"""NAFNet that is told content and degradation of an image, as DA-CLIP's paper compares it.

The network is not released. The block is what its author posted of it (issue 46 of Algolzw/daclip-uir); the rest is
assembled here: the shape of Refusion's NAFNet, the prompt of DA-CLIP's U-Net, attention to the content at the lowest
level, the input added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.constraints import AtLeast
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.methods.daclip.conditional_nafnet import ConditionalNAFBlock
from dinoir_plugin.methods.daclip.prompt import Prompted
from dinoir_plugin.methods.daclip.spatial_transformer import GROUPS, SpatialTransformer
from dinoir_plugin.methods.daclip.unet_blocks import Attended
from dinoir_plugin.nn.nafnet_blocks import NAFShape, channel_attention, scaled


class PromptNAFBlock(ConditionalNAFBlock):
    """Change a feature as a prompt says, and in a block with cross-attention as the content says.

    Args:
        dim: C; a multiple of 32 with cross-attention.
        emb_dim: Width of the prompt's embedding, an even number.
        context_dim: Width of the content's embedding: pixels attend to each other and to it. None: no pixel sees
            another, and channels are scaled by their means as in NAFNet.
    """

    def __init__(self, dim: int, emb_dim: int, context_dim: int | None = None) -> None:
        # names of what the author posted
        att: nn.Module = nn.ModuleDict({'sca': channel_attention(dim)})
        if context_dim is not None:
            att = Attended(dim, SpatialTransformer(dim, context_dim))
        super().__init__(dim, emb_dim, att)
        self.crosses = context_dim is not None

    def attention(self, features: Tensor, content: Tensor) -> Tensor:
        """Compute ``beta * conv3(att(x))`` of (B, H, W, C); ``content`` is (B, context_dim)."""
        if not self.crosses:
            return self.by_channels(features, self.att['sca'][1])
        attended = self.att(features.permute(0, 3, 1, 2), content).permute(0, 2, 3, 1)
        return F.linear(attended, *scaled(self.conv3, self.beta))


@ARCH_REGISTRY.register()
class PromptNAFNet(NAFShape, Prompted):
    """Restore with a NAFNet that DA-CLIP tells the content and the degradation of the image.

    As a backbone of :class:`~dinoir_plugin.methods.daclip.daclip_arch.DACLIPArch` it needs no ``guide_at``.

    Args:
        img_channel: Channels of input and output.
        width: Width at full size; it doubles with each halving.
        enc_blk_nums: Blocks of each encoder level, from full size down.
        middle_blk_num: Blocks at the lowest level.
        dec_blk_nums: Blocks of each decoder level, from the lowest up; as many levels as the encoder.
        context_dim: Width of both embeddings of DA-CLIP.
        emb_dim: Width of the prompt, an even number; None: four times ``width``.
        cross: Which blocks see the content: those in the ``middle``, or ``none`` (the paper's "NAFNet + Degradation").
            Pixels attend to each other there, too.
        residual: Whether the input is added at the end.

    Attributes:
        takes_condition: Guidance hands over what it found by an argument.

    Raises:
        OptionsError: Encoder and decoder have different numbers of levels, or a width does not divide.
    """

    takes_condition = True

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 64,
        enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
        middle_blk_num: int = 1,
        dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
        context_dim: int = 512,
        emb_dim: Annotated[int, AtLeast(2)] | None = None,
        cross: Literal['middle', 'none'] = 'middle',
        residual: bool = True,
    ) -> None:
        emb_dim = width * 4 if emb_dim is None else emb_dim
        if emb_dim % 2:
            raise OptionsError('emb_dim', f'expected an even number, since its halves are multiplied, got {emb_dim}')
        lowest, crosses = width * 2 ** len(enc_blk_nums), cross == 'middle'
        if crosses and lowest % GROUPS:
            problem = f'expected {GROUPS} to divide the width at the lowest level, where pixels attend, got {lowest}'
            raise OptionsError('width', problem, 'Choose another one, or cross: none')
        make = partial(PromptNAFBlock, emb_dim=emb_dim)
        make_middle = partial(make, context_dim=context_dim) if crosses else make
        super().__init__(
            img_channel, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums, make, make_middle
        )  # fmt: skip
        self.context_dim, self.residual = context_dim, residual
        self.add_prompt(context_dim, emb_dim)

    def forward(self, inp: Tensor, condition: Condition | None = None) -> Tensor:
        """Restore.

        Args:
            inp: Degraded, (B, img_channel, H, W), [0, 1] by custom; any size.
            condition: The degradation as its vector, (B, context_dim), the content as its one token, not normalised; a
                missing one is taken for zeros.

        Returns:
            (B, img_channel, H, W), not clipped.
        """
        found = condition or Condition()
        nothing = self.prompt.new_zeros(len(inp), self.context_dim)
        degradation = nothing if found.vector is None else found.vector
        content = nothing if found.tokens is None else found.tokens[:, 0]
        height, width = inp.shape[-2:]
        image = self.padded(inp)
        restored = self.through(image, self.prompted(degradation), content)
        return (restored + image if self.residual else restored)[..., :height, :width]
