"""Blocks of IDR (Zhang et al., CVPR 2023): what a level is told of the degradation, and what it does about it.

Parameter names are those of the authors' release. Features are (B, C, H, W), channels_last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.nn.mprnet_blocks import SAM
from dinoir_plugin.nn.pixelwise import depthwise, pointwise
from dinoir_plugin.nn.restormer_blocks import LayerNorm

# routes of a principle net, and which of them is for each type of degradation: noise, rain, haze, blur, low light
ROUTES = ('addition', 'convolve', 'point')
ROUTE_OF_TYPE = (0, 0, 2, 1, 2)
KERNEL = 5  # side of the kernels that the route `convolve` makes for each pixel


def resized(image: Tensor, factor: float, antialias: bool) -> Tensor:
    """Shrink (B, 3, H, W) to ``factor`` times its sides, bilinear; without ``antialias`` two pixels a side count."""
    if factor == 1:
        return image
    return F.interpolate(image, scale_factor=factor, mode='bilinear', align_corners=False, antialias=antialias)


class KeyAttention(nn.Module):
    """Attend from pixels to the few vectors (keys) that describe a degradation.

    ``temperature``, ``qkv`` and ``qkv_dwconv`` are in the release, and nothing reads them: they are frozen.
    """

    def __init__(self, dim: int, key_dim: int, num_heads: int, bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1), requires_grad=False)
        self.q = nn.Sequential(
            nn.Conv2d(dim, dim, 1, bias=bias), nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=bias)
        )
        self.kv = nn.Linear(key_dim, dim * 2)
        self.qkv = nn.Conv2d(dim, dim * 3, 1, bias=bias).requires_grad_(False)
        self.qkv_dwconv = nn.Conv2d(dim * 3, dim * 3, 3, padding=1, groups=dim * 3, bias=bias).requires_grad_(False)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor, keys: Tensor, last: nn.Conv2d) -> Tensor:
        """Compute ``last(project_out(attention))``, both of them applied to the few values and not to the pixels.

        Args:
            x: (B, H, W, C), normalised.
            keys: (B, n, key_dim).
            last: A 1x1 convolution from C channels to D.

        Returns:
            (B, H, W, D).
        """
        across: Any
        along: Any
        across, along = self.q
        query = depthwise(along, pointwise(across, x))
        key, value = self.kv(F.layer_norm(keys, keys.shape[-1:])).chunk(2, dim=-1)
        # one product for all heads: a key is zero in the channels of the other heads
        scores = query.flatten(1, 2) @ self._apart(key).mT * x.shape[-1] ** -0.5
        weights = scores.unflatten(-1, (self.num_heads, -1)).softmax(dim=-1).flatten(-2)
        matrix = last.weight.flatten(1) @ self.project_out.weight.flatten(1)
        out = weights @ (self._apart(value) @ matrix.mT)
        bias = last.bias
        if self.project_out.bias is not None:
            inner = last.weight.flatten(1) @ self.project_out.bias
            bias = inner if bias is None else inner + bias
        return (out if bias is None else out + bias).unflatten(1, x.shape[1:3])

    def _apart(self, tokens: Tensor) -> Tensor:
        """Set (B, n, C) apart by heads: (B, heads * n, C), each row zero but in its head's channels."""
        heads = self.num_heads
        own = torch.eye(heads, dtype=tokens.dtype, device=tokens.device)[:, None, :, None]
        split = tokens.unflatten(-1, (heads, -1))
        return (split[:, None] * own).flatten(3).flatten(1, 2)


class ConvFeedForward(nn.Module):
    """Feed forward with a depthwise convolution between two 1x1 ones."""

    def __init__(self, dim: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Conv2d(hidden, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, H, W, C)."""
        return pointwise(self.fc2, F.gelu(depthwise(self.dwconv, pointwise(self.fc1, x))))


class Residual(nn.Module):
    """Add to a feature two convolutions of it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W)."""
        return x + self.conv2(F.relu(self.conv1(x)))


def _stem(in_channels: int, dim: int) -> list[nn.Module]:
    first = nn.Sequential(nn.Conv2d(in_channels, dim, 3, padding=1), nn.PReLU())
    return [first, Residual(dim), Residual(dim)]


class Addition(nn.Module):
    """Add what the degradation took away: for noise and rain."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.add = nn.Sequential(*_stem(dim * 2, dim))

    def forward(self, feature: Tensor, fused: Tensor) -> Tensor:
        """Correct (B, C, H, W); ``fused`` (B, 2 C, H, W) is the feature with what is known of the degradation."""
        return feature + self.add(fused)


class Convolve(nn.Module):
    """Convolve each channel of each pixel with a kernel of its own: for blur."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        last = nn.Sequential(nn.Conv2d(dim, dim * KERNEL**2, 1), nn.PReLU())
        self.convolve = nn.Sequential(*_stem(dim * 2, dim), last)

    def forward(self, feature: Tensor, fused: Tensor) -> Tensor:
        """Convolve (B, C, H, W); see :meth:`Addition.forward`.

        A tap of the kernels is made when it is needed, so that there is never more than one of their 25 in memory.
        """
        layers: list[Any] = list(self.convolve)
        *stem, (project, activation) = layers
        for layer in stem:
            fused = layer(fused)
        around = F.pad(feature, [KERNEL // 2] * 4, mode='replicate')
        if torch.compiler.is_exporting():
            return self._at_once(activation(project(fused)), around)
        pixels, around = fused.permute(0, 2, 3, 1), around.permute(0, 2, 3, 1)
        height, width = feature.shape[-2:]
        weights = project.weight.flatten(1).unflatten(0, (-1, KERNEL**2)).unbind(dim=1)
        biases = project.bias.unflatten(0, (-1, KERNEL**2)).unbind(dim=1)
        total = torch.zeros_like(pixels)
        for tap, (weight, bias) in enumerate(zip(weights, biases)):
            top, left = divmod(tap, KERNEL)
            kernel = F.prelu(F.linear(pixels, weight, bias), activation.weight)
            total = total + kernel * around[:, top : top + height, left : left + width]
        return total.permute(0, 3, 1, 2)

    @staticmethod
    def _at_once(kernels: Tensor, around: Tensor) -> Tensor:
        """Convolve in a few operations: an exported graph would hold each tap's, and take minutes to be made."""
        channels, taps = around.shape[1], KERNEL**2
        picks = torch.eye(taps, dtype=around.dtype, device=around.device).view(taps, 1, KERNEL, KERNEL)
        neighbours = F.conv2d(around, picks.repeat(channels, 1, 1, 1), groups=channels)
        return (kernels * neighbours).unflatten(1, (channels, taps)).sum(dim=2)


class Point(nn.Module):
    """Scale and shift each value: for haze and low light."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Sequential(*_stem(dim * 2, dim * 2))

    def forward(self, feature: Tensor, fused: Tensor) -> Tensor:
        """Scale and shift (B, C, H, W); see :meth:`Addition.forward`."""
        gamma, beta = self.weight(fused).chunk(2, dim=1)
        return gamma * feature + beta


class Principle(nn.Module):
    """Restore a feature by the physics of its degradation: add, convolve, or scale and shift.

    Args:
        dim: C, of the feature.
        types: Of degradations that are told apart.
    """

    def __init__(self, dim: int, types: int) -> None:
        super().__init__()
        self.mlp_img = nn.Conv2d(dim, dim, 1)
        self.mlp_degra = nn.Conv2d(dim, dim, 1)
        self.convolve = Convolve(dim)
        self.addition = Addition(dim)
        self.point = Point(dim)
        self.pred = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, types, 1), nn.Softmax(dim=1)
        )

    def types(self, feature: Tensor) -> Tensor:
        """Tell how likely each type is, (B, types), for the whole of each image (B, C, H, W)."""
        return self.pred(feature).flatten(1)

    def forward(self, feature: Tensor, known: Tensor, likely: Tensor, types: Sequence[int] | None) -> Tensor:
        """Restore.

        Args:
            feature: (B, C, H, W).
            known: What attention found out of the degradation, (B, C, H, W).
            likely: As :meth:`types` gives it.
            types: The type of each image, which takes that type's route; None: all routes, as likely as they are.

        Returns:
            (B, C, H, W).
        """
        feature = pointwise(self.mlp_img, feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        fused = torch.stack([feature.permute(0, 2, 3, 1), known.permute(0, 2, 3, 1)], dim=-1)
        fused = fused.flatten(-2).permute(0, 3, 1, 2)
        if types is not None:
            return self._one_route_each(feature, fused, types)
        noise, rain, haze, blur, light = likely[..., None, None, None].unbind(dim=1)
        # the other routes go on from what addition has corrected, as in the authors' code, which corrects in place
        corrected = self.addition(feature, fused)
        out = (haze + light) * self.point(corrected, fused) + (noise + rain) * corrected
        return out + blur * self.convolve(corrected, fused)

    def _one_route_each(self, feature: Tensor, fused: Tensor, types: Sequence[int]) -> Tensor:
        """Send each image through its type's route; a route without any gets none, and its gradients are zeros."""
        routes = [ROUTE_OF_TYPE[kind] for kind in types]
        members = [[place for place, route in enumerate(routes) if route == number] for number in range(len(ROUTES))]
        parts = []
        for name, places in zip(ROUTES, members):
            chosen = to_device(torch.tensor(places, dtype=torch.long), feature.device)
            parts.append(getattr(self, name)(feature.index_select(0, chosen), fused.index_select(0, chosen)))
        order = to_device(torch.tensor([place for places in members for place in places]), feature.device)
        return torch.cat(parts).index_select(0, order.argsort())


class KeyBlock(nn.Module):
    """Find out about an image's degradation on one level, and correct the feature accordingly.

    Args:
        dim: C, of the feature.
        key_dim: Of the vectors that describe degradations.
        num_heads: Of the attention.
        ffn_expansion_factor: Hidden width of the feed-forward network over ``dim``.
        bias: Whether the convolutions that Restormer has, too, have one.
        norm: See :data:`~dinoir_plugin.nn.restormer_blocks.LAYER_NORMS`.
        types: Of degradations that are told apart.
    """

    def __init__(
        self, dim: int, key_dim: int, num_heads: int, ffn_expansion_factor: float, bias: bool, norm: str, types: int
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, norm)
        self.attn = KeyAttention(dim, key_dim, num_heads, bias)
        self.norm2 = LayerNorm(dim, norm)
        self.ffn = ConvFeedForward(dim, int(dim * ffn_expansion_factor), bias)
        self.principle = Principle(dim, types)
        self.SAM = SAM(dim, 3, bias)

    def forward(
        self, feature: Tensor, likely: Tensor, keys: Tensor, image: Tensor, types: Sequence[int] | None
    ) -> tuple[Tensor, Tensor]:
        """Correct a feature.

        Args:
            feature: (B, C, H, W), channels_last.
            likely: How likely each type is, (B, types).
            keys: Vectors that describe the degradation, (B, n, key_dim).
            image: Degraded, (B, 3, H, W), RGB.
            types: See :meth:`Principle.forward`.

        Returns:
            (B, C, H, W), channels_last, and this level's restored image, (B, 3, H, W).
        """
        weighed, restored = self.SAM(feature, image)
        normed = self.norm1(weighed.permute(0, 2, 3, 1))
        known = self.attn(normed, keys, self.principle.mlp_degra).permute(0, 3, 1, 2)
        x = self.principle(feature, known, likely, types).permute(0, 2, 3, 1)
        return (x + self.ffn(self.norm2(x))).permute(0, 3, 1, 2), restored
