"""CLIP's image and text tower (Radford et al., ICML 2021, arXiv 2103.00020), written from the paper.

Names of parameters are those of OpenCLIP and of OpenAI, so their weights load with ``strict=True``. The activation is
the exact GELU, as in weights that OpenCLIP trained, or with ``quick_gelu`` the approximation of it that OpenAI's own
weights were trained with.
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

# of images
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
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


class QuickGELU(nn.Module):
    """Compute ``x * sigmoid(1.702 x)``, OpenAI's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (...) to the same shape."""
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    """Add attention and feed-forward layers to tokens, each with a norm before."""

    def __init__(self, width: int, heads: int, causal: bool, quick_gelu: bool = False) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads, causal)
        self.ln_2 = nn.LayerNorm(width)
        fc, projection = nn.Linear(width, width * RATIO), nn.Linear(width * RATIO, width)
        gelu = QuickGELU() if quick_gelu else nn.GELU()
        self.mlp: Any = nn.Sequential(OrderedDict(c_fc=fc, gelu=gelu, c_proj=projection))

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
        quick_gelu: Whether the activation is :class:`QuickGELU`.
    """

    def __init__(
        self, width: int, layers: int, heads: int, causal: bool = False, quick_gelu: bool = False
    ) -> None:
        super().__init__()
        blocks = [ResidualAttentionBlock(width, heads, causal, quick_gelu) for _ in range(layers)]
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
        quick_gelu: Whether the activation is OpenAI's.

    Raises:
        OptionsError: Widths or sides do not divide.
    """

    def __init__(
        self, embed_dim: int, image_size: int, patch_size: int, width: int, layers: int, head_width: int,
        quick_gelu: bool = False,
    ) -> None:  # fmt: skip
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
        self.transformer: nn.Module = Transformer(width, layers, width // head_width, quick_gelu=quick_gelu)
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
        quick_gelu: Whether the activation is the approximation of GELU that OpenAI's own weights were trained with.

    Attributes:
        quick_gelu: As the argument.
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
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        self.quick_gelu = quick_gelu
        if text_width % text_heads:
            raise OptionsError('text_heads', f'expected a divisor of text_width ({text_width}), got {text_heads}')
        self.positional_embedding = nn.Parameter(torch.randn(context_length, text_width) * POSITION_STD)
        self.text_projection = nn.Parameter(torch.randn(text_width, embed_dim) * text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(FIRST_TEMPERATURE)))
        vision = (embed_dim, image_size, patch_size, vision_width, vision_layers, head_width)
        self.visual = VisionTower(*vision, quick_gelu=quick_gelu)
        self.transformer = Transformer(text_width, text_layers, text_heads, causal=True, quick_gelu=quick_gelu)
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
        return self.encode_vectors(self.token_embedding(tokens), tokens.argmax(dim=-1))

    def encode_vectors(self, vectors: Tensor, ends: Tensor) -> Tensor:
        """Encode texts that are given as vectors in place of tokens, such as learned prompts.

        Args:
            vectors: (B, N, text_width), N up to ``context_length``, as ``token_embedding`` gives them.
            ends: Place of the last one of each text, (B,).

        Returns:
            (B, embed_dim), not normalised.
        """
        x = self.transformer(vectors + self.positional_embedding[: vectors.shape[1]])
        last = x[torch.arange(len(x), device=x.device), ends]
        out: Tensor = self.ln_final(last) @ self.text_projection
        return out
