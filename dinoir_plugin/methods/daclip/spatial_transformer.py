"""Attention among all pixels of a small feature, with a word from the image's content.

Written from the paper's description; names of parameters are those of the release. Features are (B, H, W, C), so that
a pixel is a token.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.nn.pixelwise import pointwise
from dinoir_plugin.nn.token_attention import attended

HEAD_WIDTH = 32
GROUPS = 32
GROUP_EPS = 1e-6
RATIO = 4  # hidden over outer width of the feed-forward layers


class SelfAttention(nn.Module):
    """Attend between tokens, in heads of 32 channels."""

    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, C) to the same."""
        heads = tokens.shape[-1] // HEAD_WIDTH
        out: Tensor = self.to_out(attended(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), heads))
        return out


class ContextAttention(SelfAttention):
    """Attend from tokens to a context of one token, which is all that each of them sees.

    Softmax over one key is 1: every token gets the same vector, whatever queries and keys are. Their layers stand in
    the release's files and do not learn.
    """

    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__(dim, context_dim)
        self.to_q.requires_grad_(False)
        self.to_k.requires_grad_(False)

    def forward(self, context: Tensor) -> Tensor:
        """Map (B, context_dim) to the vector that is added to all tokens, (B, C)."""
        out: Tensor = self.to_out(self.to_v(context))
        return out


class _GEGLU(nn.Module):
    """Project twice, and let one projection gate the other."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, hidden * 2)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.proj(x).chunk(2, dim=-1)
        return values * F.gelu(gates)


class _FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        # the release has a dropout of rate 0 between
        self.net = nn.Sequential(_GEGLU(dim, dim * RATIO), nn.Identity(), nn.Linear(dim * RATIO, dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class TransformerBlock(nn.Module):
    """Add to tokens what they see of each other, what they see of the context, and a feed-forward layer."""

    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__()
        self.attn1 = SelfAttention(dim, dim)
        self.ff = _FeedForward(dim)
        self.attn2 = ContextAttention(dim, context_dim)
        self.norm1 = nn.LayerNorm(dim)
        # before queries that have no effect
        self.norm2 = nn.LayerNorm(dim).requires_grad_(False)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Change (B, N, C); ``context`` is (B, context_dim)."""
        tokens = tokens + self.attn1(self.norm1(tokens)) + self.attn2(context)[:, None]
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class SpatialTransformer(nn.Module):
    """Add to a feature what a transformer block makes of its pixels and of a context; starts as the identity.

    Args:
        dim: C, a multiple of 32.
        context_dim: Width of the context.
    """

    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, dim, eps=GROUP_EPS)
        self.proj_in = nn.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(dim, context_dim)])
        self.proj_out = nn.Conv2d(dim, dim, 1)
        for parameter in self.proj_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Change (B, H, W, C); ``context`` is (B, context_dim)."""
        normed = self.norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens = pointwise(self.proj_in, normed).flatten(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + pointwise(self.proj_out, tokens).view(x.shape)
