"""Blocks of TransWeather (Valanarasu et al., CVPR 2022, arXiv 2111.14813), written from the paper.

Parameter names are those of the authors' release. Features are (B, C, H, W), channels_last in memory, so that a token
is a pixel of (B, H, W, C) and nothing is moved between convolutions and matrix products.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import stochastic_depth

from dinoir_plugin.nn.pixelwise import depthwise
from dinoir_plugin.nn.token_attention import attended

BLOCK_EPS = 1e-6
EMBED_EPS = 1e-5
# a side of the map over which keys and values are pooled, at each stage
REDUCTIONS = (4, 2, 2, 1)
# blocks of a stage of the encoder; hidden over outer width of its feed-forward layers
DEPTH, RATIO = 2, 2
# of the decoder: its blocks, their ratio, and the blocks over which its rates of stochastic depth are spread
TASK_DEPTH, TASK_RATIO, TASK_SPREAD = 3, 4, 16
QUERIES = 48


def start(module: nn.Module) -> None:
    """Draw a layer's weights as the authors do; to be applied to all of encoder and decoder."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        outputs = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / outputs))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class PatchEmbed(nn.Module):
    """Make tokens of overlapping patches, and normalise them."""

    def __init__(self, in_channels: int, dim: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(dim, eps=EMBED_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W) to (B, dim, H / stride, W / stride), rounded up."""
        return normed(self.norm, self.proj(x))


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalise (B, C, H, W) over its channels."""
    out: Tensor = norm(x.permute(0, 2, 3, 1))
    return out.permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Attend between pixels, with keys and values from patches of ``reduction`` pixels by as many."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, dim * 2)
        self.proj = nn.Linear(dim, dim)
        self.reduces = reduction > 1
        if self.reduces:
            self.sr = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim, eps=EMBED_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, H, W, C)."""
        reduced = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)) if self.reduces else x
        keys, values = self.kv(reduced.flatten(1, 2)).chunk(2, dim=-1)
        return self.proj(attended(self.q(x.flatten(1, 2)), keys, values, self.heads)).view(x.shape)


class TaskAttention(nn.Module):
    """Attend from learned queries of weather types to pixels.

    The queries are spread evenly over the pixels, each pixel taking one (the nearest along the row of tokens). Pixels
    of one query get one answer, so the answers are spread, not the queries.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.task_query = nn.Parameter(torch.randn(1, QUERIES, dim))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, dim * 2)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Give (B, H, W, C) for (B, H, W, C)."""
        batch, height, width, dim = x.shape
        keys, values = self.kv(x.flatten(1, 2)).chunk(2, dim=-1)
        queries = self.q(self.task_query).expand(batch, QUERIES, dim)
        answers = self.proj(attended(queries, keys, values, self.heads))
        spread = F.interpolate(answers.transpose(1, 2), size=height * width, mode='nearest')
        return spread.transpose(1, 2).reshape(batch, height, width, dim)


class FeedForward(nn.Module):
    """Feed forward with a depthwise convolution in between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv: Any = _named(dwconv=nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden))
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, H, W, C)."""
        return self.fc2(F.gelu(depthwise(self.dwconv.dwconv, self.fc1(x))))


class Block(nn.Module):
    """Add attention and feed-forward layers to a feature, each with a norm before.

    In training a branch is left out for some images (stochastic depth).

    Args:
        attn: From (B, H, W, C) to the same.
        dim: C.
        ratio: Width inside the feed-forward layers over C.
        drop: How often a branch is left out, 0 to 1.
    """

    def __init__(self, attn: nn.Module, dim: int, ratio: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_EPS)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_EPS)
        self.mlp = FeedForward(dim, dim * ratio)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W), channels_last in and out."""
        x = x.permute(0, 2, 3, 1)
        x = x + stochastic_depth(self.attn(self.norm1(x)), self.drop, 'row', self.training)
        x = x + stochastic_depth(self.mlp(self.norm2(x)), self.drop, 'row', self.training)
        return x.permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """Give features of an image at four sizes: a quarter, and three halvings of that, rounded up.

    Beside each stage's blocks lies a branch on its patches halved once more, which is added to the next stage.

    Args:
        dims: Width of each stage.
        heads: Of each stage's attention.
        drop_path: Rate of stochastic depth in the last block; it rises linearly from 0.
    """

    def __init__(self, dims: Sequence[int], heads: Sequence[int], drop_path: float) -> None:
        super().__init__()
        self.patch_embed1 = PatchEmbed(3, dims[0], 7, 4)
        for stage in (2, 3, 4):
            self.add_module(f'patch_embed{stage}', PatchEmbed(dims[stage - 2], dims[stage - 1]))
        for stage in (1, 2, 3):
            self.add_module(f'mini_patch_embed{stage}', PatchEmbed(dims[stage - 1], dims[stage]))
        # in the release, and never called
        self.mini_patch_embed4 = PatchEmbed(dims[0], dims[3]).requires_grad_(False)
        rates = _rising(drop_path, DEPTH * 4)
        # in the third branch the authors have the second stage's heads
        branch_heads = (heads[0], heads[1], heads[1])
        for stage, (dim, count, reduction) in enumerate(zip(dims, heads, REDUCTIONS)):
            drops = rates[stage * DEPTH : (stage + 1) * DEPTH]
            blocks = [Block(Attention(dim, count, reduction), dim, RATIO, drop) for drop in drops]
            self.add_module(f'block{stage + 1}', nn.Sequential(*blocks))
            self.add_module(f'norm{stage + 1}', nn.LayerNorm(dim, eps=BLOCK_EPS))
            if stage < 3:
                wider = dims[stage + 1]
                block = Block(Attention(wider, branch_heads[stage], reduction), wider, RATIO, drops[0])
                self.add_module(f'patch_block{stage + 1}', nn.Sequential(block))
                self.add_module(f'pnorm{stage + 1}', nn.LayerNorm(wider, eps=BLOCK_EPS))
        self.apply(start)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Take (B, 3, H, W) to the features, largest first."""
        x, branch, found = image, None, []
        for stage in (1, 2, 3, 4):
            x = self._part('patch_embed', stage)(x)
            if branch is not None:
                x = x + branch
            if stage < 4:
                branch = self._part('patch_block', stage)(self._part('mini_patch_embed', stage)(x))
                branch = normed(self._part('pnorm', stage), branch)
            x = normed(self._part('norm', stage), self._part('block', stage)(x))
            found.append(x)
        return tuple(found)

    def _part(self, name: str, stage: int) -> nn.Module:
        return self.get_submodule(f'{name}{stage}')


class TaskDecoder(nn.Module):
    """Ask the smallest feature, halved once more, what the weather is."""

    def __init__(self, dim: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.patch_embed1 = PatchEmbed(dim, dim)
        rates = _rising(drop_path, TASK_SPREAD)[:TASK_DEPTH]
        self.block1 = nn.Sequential(*[Block(TaskAttention(dim, heads), dim, TASK_RATIO, rate) for rate in rates])
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_EPS)
        self.apply(start)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W) to (B, C, H / 2, W / 2), rounded up."""
        return normed(self.norm1, self.block1(self.patch_embed1(x)))


class ConvTail(nn.Module):
    """Go up from the encoder's features to full size.

    Args:
        dims: Widths of the features, largest feature first.
        has_task: Whether what the task decoder gave comes in as well.
    """

    def __init__(self, dims: Sequence[int], has_task: bool) -> None:
        super().__init__()
        if has_task:
            self.convd32x = _doubling(dims[3], dims[3])
        self.convd16x = _doubling(dims[3], dims[2])
        self.dense_4 = nn.Sequential(Residual(dims[2]))
        self.convd8x = _doubling(dims[2], dims[1])
        self.dense_3 = nn.Sequential(Residual(dims[1]))
        self.convd4x = _doubling(dims[1], dims[0])
        self.dense_2 = nn.Sequential(Residual(dims[0]))
        self.convd2x = _doubling(dims[0], 16)
        self.dense_1 = nn.Sequential(Residual(16))
        self.convd1x = _doubling(16, 8)
        # in the release, and never called
        self.conv_output = _named(conv2d=nn.Conv2d(8, 3, 3, padding=1)).requires_grad_(False)

    def forward(self, features: Sequence[Tensor], task: Tensor | None = None) -> Tensor:
        """Take the four features and, where there is one, (B, C, h, w) of the task decoder to (B, 8, H, W)."""
        first, second, third, x = features
        if task is not None:
            x = _cropped(self.convd32x(task), x) + x
        x = self.dense_4(_cropped(self.convd16x(x), third)) + third
        x = self.dense_3(self.convd8x(x)) + second
        x = self.dense_2(self.convd4x(x)) + first
        return self.convd1x(self.dense_1(self.convd2x(x)))


class Residual(nn.Module):
    """Add to a feature a tenth of two convolutions of it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = _named(conv2d=nn.Conv2d(dim, dim, 3, padding=1))
        self.conv2 = _named(conv2d=nn.Conv2d(dim, dim, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W)."""
        return x + 0.1 * self.conv2(F.relu(self.conv1(x)))


def _rising(last: float, count: int) -> list[float]:
    return [last * number / (count - 1) for number in range(count)]


def _doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    return _named(conv2d=nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1))


def _named(**layers: nn.Module) -> nn.Sequential:
    """Give layers the names that the release has between a module and its convolution."""
    return nn.Sequential(OrderedDict(layers))


def _cropped(x: Tensor, like: Tensor) -> Tensor:
    """Leave out the last row or column where ``like`` had an odd number of them before it was halved."""
    return x[..., : like.shape[-2], : like.shape[-1]]
