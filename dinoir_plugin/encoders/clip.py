"""CLIP's image and text tower (Radford et al., ICML 2021, arXiv 2103.00020), written from the paper.

Names of parameters are those of OpenCLIP, so its weights load with ``strict=True``. The activation is the exact GELU,
as in weights that OpenCLIP trained; OpenAI's own weights are for an approximation of it and give other features here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.nn.token_attention import attended

RATIO = 4  # hidden over outer width of the feed-forward layers
FIRST_TEMPERATURE = 0.07
TOKEN_STD, POSITION_STD = 0.02, 0.01


class _Attention(nn.Module):
    """Attend between tokens; one projection makes queries, keys and values."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        out: Tensor = self.out_proj(attended(queries, keys, values, self.heads, self.causal))
        return out


class ResidualAttentionBlock(nn.Module):
    """Add attention and feed-forward layers to tokens, each with a norm before."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads, causal)
        self.ln_2 = nn.LayerNorm(width)
        fc, projection = nn.Linear(width, width * RATIO), nn.Linear(width * RATIO, width)
        self.mlp: Any = nn.Sequential(OrderedDict(c_fc=fc, gelu=nn.GELU(), c_proj=projection))

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, N, width)."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """Hold blocks in a row.

    Args:
        width: Of the tokens.
        layers: How many blocks.
        heads: Of each block's attention; they divide ``width``.
        causal: Whether a token sees those before it and itself only.
    """

    def __init__(self, width: int, layers: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        blocks = [ResidualAttentionBlock(width, heads, causal) for _ in range(layers)]
        self.resblocks = nn.ModuleList(blocks)
        # residual branches start the smaller, the more of them there are
        std = width**-0.5
        for block in blocks:
            nn.init.normal_(block.attn.in_proj_weight, std=std)
            nn.init.normal_(block.attn.out_proj.weight, std=std * (2 * layers) ** -0.5)
            nn.init.zeros_(block.attn.out_proj.bias)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=std * (2 * layers) ** -0.5)

    def forward(self, x: Tensor, added: Sequence[Tensor] | None = None) -> Tensor:
        """Change (B, N, width).

        Args:
            x: Tokens.
            added: What is added behind each block, (B, N, width) each; None: nothing.
        """
        for number, block in enumerate(self.resblocks):
            x = block(x) if added is None else block(x) + added[number]
        return x


class ImageTower(nn.Module):
    """Hold what makes tokens of an image, the blocks for them, and what makes a vector of the class token.

    Args:
        embed_dim: Width of the vector.
        image_size: Side of the image in pixels.
        patch_size: Side of a patch; it divides ``image_size``.
        width: Of the tokens.
        layers: How many blocks.
        head_width: Of an attention head; it divides ``width``.

    Raises:
        OptionsError: Widths or sides do not divide.
    """

    def __init__(
        self, embed_dim: int, image_size: int, patch_size: int, width: int, layers: int, head_width: int
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise OptionsError('patch_size', f'expected a divisor of image_size ({image_size}), got {patch_size}')
        if width % head_width:
            raise OptionsError('head_width', f'expected a divisor of vision_width ({width}), got {head_width}')
        self.image_size = image_size
        tokens = (image_size // patch_size) ** 2 + 1
        std = width**-0.5
        self.class_embedding = nn.Parameter(torch.randn(width) * std)
        self.positional_embedding = nn.Parameter(torch.randn(tokens, width) * std)
        self.proj = nn.Parameter(torch.randn(width, embed_dim) * std)
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer: nn.Module = Transformer(width, layers, width // head_width)
        self.ln_post = nn.LayerNorm(width)

    def embedded(self, image: Tensor) -> Tensor:
        """Make tokens of an image, (B, tokens, width), the class token first.

        Raises:
            ValueError: The image has another size.
        """
        if image.shape[-2:] != (self.image_size, self.image_size):
            sides = (size_text(side) for side in ((self.image_size, self.image_size), image.shape[-2:]))
            raise ValueError('image: expected {} pixels, the size that CLIP was trained with, got {}. Resize the image '
                             'to that along its shorter side, and crop the rest'.format(*sides))  # fmt: skip
        patches = self.conv1(image).flatten(2).transpose(1, 2)
        whole = self.class_embedding.expand(len(image), 1, -1).to(patches.dtype)
        out: Tensor = self.ln_pre(torch.cat([whole, patches], dim=1) + self.positional_embedding)
        return out

    def pooled(self, tokens: Tensor) -> Tensor:
        """Make the vector, (B, embed_dim), of the class token, the first of (B, tokens, width)."""
        out: Tensor = self.ln_post(tokens[:, 0]) @ self.proj
        return out


class VisionTower(ImageTower):
    """Encode an image as one vector; see :class:`ImageTower`."""

    def forward(self, image: Tensor, added: Sequence[Tensor] | None = None) -> Tensor:
        """Encode.

        Args:
            image: (B, 3, image_size, image_size), RGB, normalised with CLIP's mean and deviation.
            added: What is added to the tokens behind each block, (B, tokens, width) each; None: nothing.

        Returns:
            (B, embed_dim), not normalised.
        """
        return self.pooled(self.transformer(self.embedded(image), added))


class CLIP(nn.Module):
    """Encode images and texts as vectors whose directions are close where the text fits the image.

    Args:
        embed_dim: Width of the vectors.
        image_size: Side of an image in pixels.
        patch_size: Side of a patch.
        vision_width: Of the image's tokens.
        vision_layers: Blocks of the image tower.
        head_width: Of an attention head in the image tower.
        context_length: Tokens of a text at most.
        vocab_size: How many different ones there are.
        text_width: Of a text's tokens.
        text_heads: Attention heads of the text tower; they divide ``text_width``.
        text_layers: Blocks of the text tower.

    Attributes:
        visual: The image tower, a :class:`VisionTower`.
        logit_scale: Logarithm of the factor of cosines in the contrastive loss.

    Raises:
        OptionsError: Widths or sides do not divide.
    """

    def __init__(
        self,
        embed_dim: int = 512,
        image_size: int = 224,
        patch_size: int = 32,
        vision_width: int = 768,
        vision_layers: int = 12,
        head_width: int = 64,
        context_length: int = 77,
        vocab_size: int = 49408,
        text_width: int = 512,
        text_heads: int = 8,
        text_layers: int = 12,
    ) -> None:
        super().__init__()
        if text_width % text_heads:
            raise OptionsError('text_heads', f'expected a divisor of text_width ({text_width}), got {text_heads}')
        self.positional_embedding = nn.Parameter(torch.randn(context_length, text_width) * POSITION_STD)
        self.text_projection = nn.Parameter(torch.randn(text_width, embed_dim) * text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(FIRST_TEMPERATURE)))
        self.visual = VisionTower(embed_dim, image_size, patch_size, vision_width, vision_layers, head_width)
        self.transformer = Transformer(text_width, text_layers, text_heads, causal=True)
        self.token_embedding = nn.Embedding(vocab_size, text_width)
        self.ln_final = nn.LayerNorm(text_width)
        nn.init.normal_(self.token_embedding.weight, std=TOKEN_STD)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encode texts.

        Args:
            tokens: (B, N) whole numbers, N up to ``context_length``; the largest of a row is the end of its text.

        Returns:
            (B, embed_dim), not normalised.
        """
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.transformer(x)
        ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
        out: Tensor = self.ln_final(ends) @ self.text_projection
        return out
