"""Modulated deformable convolution (DCNv2, Zhu et al., CVPR 2019, arXiv 1811.11168), in a form that graphs can hold."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from dinoir_plugin.nn.precision import full, no_autocast


def modulated_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Convolve with taps that are moved and weighted at each pixel; stride 1, no bias, as many pixels out as in.

    ``out(p) = sum_k weight_k * mask_k(p) * x(p + tap_k + offset_k(p))``, with ``x`` bilinear between pixels and zero
    beyond its borders. Computed in float32 under autocast.

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
        # graphs of ONNX and torch.export are read by programs that do not know the operator
        form = by_sampling if torch.compiler.is_exporting() else _by_operator
        return form(*parts).to(x.dtype)


def _by_operator(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    result: Tensor = deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=mask)
    return result


def by_sampling(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Do the same by bilinear sampling and a 1x1 convolution; arguments as :func:`modulated_deform_conv`."""
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
