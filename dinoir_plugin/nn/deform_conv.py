"""Modulated deformable convolution (DCNv2, Zhu et al., CVPR 2019, arXiv 1811.11168)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision.ops import deform_conv2d

from dinoir_plugin.nn.precision import full, no_autocast


def modulated_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Convolve with taps that are moved and weighted at each pixel; stride 1, no bias, as many pixels out as in.

    ``out(p) = sum_k weight_k * mask_k(p) * x(p + tap_k + offset_k(p))``, with ``x`` bilinear between pixels and zero
    beyond its borders. Computed in float32 under autocast. GPUs use torchvision's operator, which processors compute
    several times slower than samples and a product, and which programs that read graphs do not know.

    Args:
        x: (B, C, H, W).
        offset: (B, 2 K K, H, W), in pixels: for each tap, row by row, down and then to the right.
        mask: (B, K K, H, W), for each tap.
        weight: (D, C, K, K), K odd.

    Returns:
        (B, D, H, W), of the type of ``x``.
    """
    with no_autocast(x):
        parts = full(x), full(offset), full(mask), full(weight)
        if x.is_cuda and not torch.compiler.is_exporting():
            out: Tensor = deform_conv2d(parts[0], parts[1], parts[3], padding=weight.shape[-1] // 2, mask=parts[2])
        elif torch.is_grad_enabled() and not torch.compiler.is_exporting():
            # K K samples of each pixel are sampled again rather than kept
            out = checkpoint(by_sampling, *parts, use_reentrant=False, preserve_rng_state=False)
        else:
            out = by_sampling(*parts)
        return out.to(x.dtype)


def by_sampling(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Compute :func:`modulated_deform_conv` by bilinear sampling and a 1x1 convolution; arguments as there."""
    height, width = x.shape[-2:]
    side = weight.shape[-1]
    taps = torch.arange(side, device=x.device) - side // 2
    down, right = offset.unflatten(1, (side * side, 2)).unbind(dim=2)
    rows = down + torch.arange(height, device=x.device)[:, None] + taps.repeat_interleave(side)[:, None, None]
    columns = right + torch.arange(width, device=x.device) + taps.repeat(side)[:, None, None]
    # pixel i of n has its centre at (2 i + 1) / n - 1
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    samples = F.grid_sample(x, grid.flatten(1, 2), mode='bilinear', padding_mode='zeros', align_corners=False)
    weighted = samples.unflatten(2, (side * side, -1)) * mask[:, None]
    return F.conv2d(weighted.flatten(1, 2), weight.flatten(1)[..., None, None])
