"""MPRNet (Zamir et al., CVPR 2021, arXiv 2102.02808), written from the paper.

Three stages, each with an image of its own: U-Nets on the quarters and on the halves of the image, then a subnet at
full size. Parameter names are those of the authors' release, so their weights load with ``strict=True``.
"""

from __future__ import annotations

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.mprnet_blocks import CAB, SAM, Decoder, Encoder, Kinds, ORSNet, Pyramid

ROWS, COLUMNS = -2, -1


@ARCH_REGISTRY.register(suffix='basicsr')
class MPRNet(nn.Module):
    """Restore in three stages, with the authors' constructor and parameter names.

    The quarters and halves lie along the batch axis, so each layer of a stage runs once. Modules to guide are those
    that see the whole image: ``stage2_decoder.*`` and ``stage3_orsnet.*``.

    Args:
        in_c: Channels of the input.
        out_c: Channels of the output, as many.
        n_feat: Width at full size.
        scale_unetfeats: Channels more with each of the two halvings in stages 1 and 2.
        scale_orsnetfeats: Channels more in stage 3.
        num_cab: Blocks in each of stage 3's three groups.
        kernel_size: Side of the convolutions, odd.
        reduction: Width over that inside the channel attentions.
        bias: Whether convolutions have a bias.

    Attributes:
        size_multiple: Sides are padded to multiples of this: a half, and two halvings of that.

    Raises:
        OptionsError: An argument that cannot be built.
    """

    size_multiple = 8

    def __init__(
        self,
        in_c: int = 3,
        out_c: int = 3,
        n_feat: int = 40,
        scale_unetfeats: int = 20,
        scale_orsnetfeats: int = 16,
        num_cab: int = 8,
        kernel_size: int = 3,
        reduction: int = 4,
        bias: bool = False,
    ) -> None:
        super().__init__()
        _check(in_c, out_c, n_feat, kernel_size, reduction)
        # one for the whole network: the release's state dict names it in every block
        kinds = Kinds(kernel_size, reduction, bias, nn.PReLU())
        widths = (n_feat, n_feat + scale_unetfeats, n_feat + 2 * scale_unetfeats)
        full = n_feat + scale_orsnetfeats
        self.shallow_feat1 = nn.Sequential(kinds.conv(in_c, n_feat), CAB(n_feat, kinds))
        self.shallow_feat2 = nn.Sequential(kinds.conv(in_c, n_feat), CAB(n_feat, kinds))
        self.shallow_feat3 = nn.Sequential(kinds.conv(in_c, n_feat), CAB(n_feat, kinds))
        self.stage1_encoder = Encoder(widths, kinds, fuses=False)
        self.stage1_decoder = Decoder(widths, kinds)
        self.stage2_encoder = Encoder(widths, kinds, fuses=True)
        self.stage2_decoder = Decoder(widths, kinds)
        self.stage3_orsnet = ORSNet(widths, scale_orsnetfeats, num_cab, kinds)
        self.sam12 = SAM(n_feat, out_c, bias)
        self.sam23 = SAM(n_feat, out_c, bias)
        self.concat12 = kinds.conv(n_feat * 2, n_feat)
        self.concat23 = kinds.conv(n_feat * 2, full)
        self.tail = kinds.conv(full, out_c)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        """Restore.

        Args:
            x: (B, in_c, H, W), [0, 1] by custom; any size.

        Returns:
            (B, out_c, H, W), not clipped. In training the images of all stages: ``image`` is stage 3's, ``stages`` are
            those of stage 2 and stage 1.
        """
        height, width = x.shape[-2:]
        image = pad_to_multiple(x, self.size_multiple).contiguous(memory_format=torch.channels_last)
        halves = _split(image, ROWS)

        encoded = _joined(self.stage1_encoder(self.shallow_feat1(_split(halves, COLUMNS))), COLUMNS)
        decoded = self.stage1_decoder(encoded)
        features, stage1 = self.sam12(decoded[0], halves)

        features = self.concat12(torch.cat([self.shallow_feat2(halves), features], dim=1))
        encoded = _joined(self.stage2_encoder(features, (encoded, decoded)), ROWS)
        decoded = self.stage2_decoder(encoded)
        features, stage2 = self.sam23(decoded[0], image)

        features = self.concat23(torch.cat([self.shallow_feat3(image), features], dim=1))
        stage3 = self.tail(self.stage3_orsnet(features, encoded, decoded)) + image
        if not self.training:
            return stage3[..., :height, :width]
        outputs = Outputs(stage3, (stage2, _join(stage1, ROWS)))
        return outputs.map(lambda padded: padded[..., :height, :width])


def _split(x: Tensor, side: int) -> Tensor:
    """Cut each of (B, C, H, W) in two, (2 B, C, ...): first all upper (left) parts, then all lower (right) ones."""
    # two sizes: in an exported graph, where the side is a symbol, chunk() would ask into how many pieces it falls
    half = x.shape[side] // 2
    return torch.cat(x.split([half, half], dim=side))


def _join(x: Tensor, side: int) -> Tensor:
    """Undo :func:`_split`."""
    return torch.cat(x.chunk(2), dim=side)


def _joined(levels: Pyramid, side: int) -> Pyramid:
    level1, level2, level3 = (_join(level, side) for level in levels)
    return level1, level2, level3


def _check(in_c: int, out_c: int, n_feat: int, kernel_size: int, reduction: int) -> None:
    if out_c != in_c:
        raise OptionsError('out_c', f'expected {in_c} like in_c, as the output is added to the input, got {out_c}')
    if kernel_size % 2 == 0:
        raise OptionsError('kernel_size', f'expected an odd number, got {kernel_size}')
    if not 1 <= reduction <= n_feat:
        raise OptionsError('reduction', f'expected a number from 1 to n_feat ({n_feat}), got {reduction}')
