"""PromptIR (Potlapalli et al., NeurIPS 2023, arXiv 2306.13090), written from the paper.

Restormer's levels with three prompts on the way up: learned maps, mixed by what a feature looks like on average, join
that feature before it is enlarged. Parameter names are those of the authors' release, so their weights (the keys of
``model.ckpt`` without the prefix ``net.``) load with ``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.local_statistics import UsesStatistics
from dinoir_plugin.nn.restormer_shape import Levels, RestormerEncoder, check_residual, upsample


class PromptGenerator(UsesStatistics):
    """Make a prompt for a feature: ``conv3x3(resize(sum_n w_n P_n))`` with ``w = softmax(linear(mean(x)))``.

    With local statistics each window gets the prompt that an image of its size would get, and the convolution sees
    them all.

    Args:
        dim: Channels of the prompt.
        count: Of the maps P_n that are mixed.
        size: Side of the maps, that of the level's feature in training (patches of 128 pixels in the paper).
        feature_dim: Channels of the feature.
    """

    def __init__(self, dim: int, count: int, size: int, feature_dim: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, count, dim, size, size))
        self.linear_layer = nn.Linear(feature_dim, count)
        self.conv3x3 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, feature_dim, H, W) to (B, dim, H, W), channels_last in and out."""
        dim = self.prompt_param.shape[2]
        prompt = self.over_windows(x.permute(0, 2, 3, 1), dim, lambda part, window: self._mixed(part))
        return self.conv3x3(prompt.permute(0, 3, 1, 2))

    def _mixed(self, x: Tensor) -> Tensor:
        weights = self.linear_layer(x.mean(dim=(1, 2))).softmax(dim=-1)
        # resizing is linear: the maps are mixed at their own size, and one is resized instead of all
        prompt = (weights @ self.prompt_param[0].flatten(1)).unflatten(-1, self.prompt_param.shape[2:])
        prompt = prompt.contiguous(memory_format=torch.channels_last)
        return F.interpolate(prompt, size=x.shape[1:3], mode='bilinear', align_corners=False).permute(0, 2, 3, 1)


@ARCH_REGISTRY.register(suffix='basicsr')
class PromptIR(RestormerEncoder):
    """Restore with PromptIR, with the authors' constructor and parameter names.

    The release holds six layers that no forward pass reaches, ``chnl_reduce1`` to ``3`` and ``reduce_noise_channel_1``
    to ``3``. They are here so that state dicts fit in both directions, and frozen (``requires_grad`` False), because
    DistributedDataParallel would wait for their gradients in vain.

    Args:
        inp_channels: Channels of the input.
        out_channels: Channels of the output.
        dim: Width at full size; it doubles with each of the three halvings.
        num_blocks: Blocks of level 1, 2, 3 and of the latent level.
        num_refinement_blocks: Blocks after the decoder.
        heads: Attention heads of level 1, 2, 3 and of the latent level. Those of level 3 are also those of the three
            blocks that join features and prompts.
        ffn_expansion_factor: Hidden width of the feed-forward network over the level's width.
        bias: Whether convolutions have a bias; those of the prompts never have.
        LayerNorm_type: ``WithBias`` or ``BiasFree``.
        decoder: Whether there are prompts: True. The release takes False too, but then its layers do not fit together.
        prompt_dims: Channels of the prompts for the features that go up to level 1, 2 and 3.
        prompt_sizes: Sides of their maps, in the same order.
        prompt_len: Maps that each of them mixes.

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
        decoder: bool = True,
        prompt_dims: Sequence[int] = (64, 128, 320),
        prompt_sizes: Sequence[int] = (64, 32, 16),
        prompt_len: int = 5,
    ) -> None:
        check_residual(inp_channels, out_channels)
        _check(decoder, prompt_dims, prompt_sizes, prompt_len)
        levels = Levels(num_blocks, heads, ffn_expansion_factor, bias, LayerNorm_type)
        super().__init__(inp_channels, dim, levels)
        self._add_prompts(dim, levels, prompt_dims, prompt_sizes, prompt_len)
        self.up4_3 = upsample(dim * 4)
        self.reduce_chan_level3 = nn.Conv2d(dim * 6, dim * 4, 1, bias=bias)
        self.decoder_level3 = levels.level(2, dim * 4)
        self.up3_2 = upsample(dim * 4)
        self.reduce_chan_level2 = nn.Conv2d(dim * 4, dim * 2, 1, bias=bias)
        self.decoder_level2 = levels.level(1, dim * 2)
        self.up2_1 = upsample(dim * 2)
        self.decoder_level1 = levels.level(0, dim * 2)
        self.refinement = levels.level(0, dim * 2, num_refinement_blocks)
        self.output = nn.Conv2d(dim * 2, out_channels, 3, padding=1, bias=bias)
        self._add_unused(dim, prompt_dims, bias)

    def _add_prompts(
        self, dim: int, levels: Levels, prompt_dims: Sequence[int], sizes: Sequence[int], count: int
    ) -> None:
        """Add for each feature on the way up its prompt, a block for the two together, and a 1x1 to what goes up."""
        width1, width2, width3 = (width + prompt for width, prompt in zip((dim * 2, dim * 4, dim * 8), prompt_dims))
        if any(width % levels.heads[2] for width in (width1, width2, width3)):
            expected = f'expected heads[2] to divide the widths of features with prompts, {width1}, {width2}, {width3}'
            raise OptionsError('heads', f'{expected}, got {levels.heads[2]}', 'prompt_dims changes those widths')
        self.prompt1 = PromptGenerator(prompt_dims[0], count, sizes[0], dim * 2)
        self.prompt2 = PromptGenerator(prompt_dims[1], count, sizes[1], dim * 4)
        self.prompt3 = PromptGenerator(prompt_dims[2], count, sizes[2], dim * 8)
        self.noise_level1 = levels.block(2, width1)
        self.noise_level2 = levels.block(2, width2)
        self.noise_level3 = levels.block(2, width3)
        self.reduce_noise_level1 = nn.Conv2d(width1, dim * 2, 1, bias=levels.bias)
        self.reduce_noise_level2 = nn.Conv2d(width2, dim * 4, 1, bias=levels.bias)
        self.reduce_noise_level3 = nn.Conv2d(width3, dim * 4, 1, bias=levels.bias)

    def _add_unused(self, dim: int, prompt_dims: Sequence[int], bias: bool) -> None:
        """Add the release's layers that nothing calls, frozen."""

        def frozen(width: int, out: int) -> nn.Conv2d:
            return nn.Conv2d(width, out, 1, bias=bias).requires_grad_(False)

        width1, width2, width3 = prompt_dims
        reduced = width3 * 4 // 5  # 256 of 320
        self.chnl_reduce1 = frozen(width1, width1)
        self.chnl_reduce2 = frozen(width2, width2)
        self.chnl_reduce3 = frozen(width3, reduced)
        self.reduce_noise_channel_1 = frozen(dim + width1, dim)
        self.reduce_noise_channel_2 = frozen(dim * 2 + width2, dim * 2)
        self.reduce_noise_channel_3 = frozen(dim * 4 + reduced, dim * 4)

    def forward(self, inp_img: Tensor) -> Tensor:
        """Restore.

        Args:
            inp_img: (B, inp_channels, H, W), [0, 1] by custom; any size.

        Returns:
            (B, out_channels, H, W), not clipped.
        """
        height, width = inp_img.shape[-2:]
        image = pad_to_multiple(inp_img, self.size_multiple).contiguous(memory_format=torch.channels_last)
        level1, level2, level3, x = self.encoded(self.patch_embed(image))
        x = self.up4_3(self.reduce_noise_level3(self.noise_level3(_joined(x, self.prompt3))))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([x, level3], dim=1)))
        x = self.up3_2(self.reduce_noise_level2(self.noise_level2(_joined(x, self.prompt2))))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([x, level2], dim=1)))
        x = self.up2_1(self.reduce_noise_level1(self.noise_level1(_joined(x, self.prompt1))))
        x = self.refinement(self.decoder_level1(torch.cat([x, level1], dim=1)))
        return (self.output(x) + image)[..., :height, :width]


def _joined(x: Tensor, generator: PromptGenerator) -> Tensor:
    return torch.cat([x, generator(x)], dim=1)


def _check(decoder: bool, prompt_dims: Sequence[int], prompt_sizes: Sequence[int], prompt_len: int) -> None:
    if not decoder:
        remedy = 'Leave it out; the network without prompts is Restormer'
        raise OptionsError('decoder', 'expected true, as the layers fit together with prompts only', remedy)
    for key, value in (('prompt_dims', prompt_dims), ('prompt_sizes', prompt_sizes)):
        if len(value) != 3 or min(value) < 1:
            raise OptionsError(key, f'expected 3 numbers from 1 (level 1, 2, 3), got {list(value)}')
    if prompt_len < 1:
        raise OptionsError('prompt_len', f'expected a number from 1, got {prompt_len}')
