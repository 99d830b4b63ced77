"""Position embeddings as in Meta's DINOv2 code, in place of timm's, which resizes them in another way."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.nn.cuda_graph import is_recording

KEPT = 8  # sizes whose positions are kept
OFFSET = 0.1  # of Meta's scale factors


def dinov2_positions(model: Any, patches: Tensor, offset: float = OFFSET) -> Tensor:
    """Add position embeddings and prefix tokens as Meta's DINOv2 does, in place of timm's ``_pos_embed``.

    Meta resizes the learned grid bicubically. Models without registers: no antialiasing, and by the scale factor
    (size + 0.1) / grid. Models with registers: antialiasing, and by the size. timm antialiases always and never
    adds the offset, which moves the features by 0.2 to 1.3 %.

    Args:
        model: timm's VisionTransformer.
        patches: (B, h, w, C).
        offset: Of the scale factors of a model without registers; 0: resized by the size, as Hugging Face's code does.

    Returns:
        (B, prefix + h * w, C).
    """
    batch, height, width, channels = patches.shape
    registers = model.reg_token is not None
    prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    positions = model.pos_embed
    tokens = patches.reshape(batch, height * width, channels) + _kept_grid(model, prefix, (height, width), offset)
    leading = model.cls_token + positions[:, :prefix] if prefix else model.cls_token
    parts = [leading.expand(batch, -1, -1), tokens]
    if registers:
        parts.insert(1, model.reg_token.expand(batch, -1, -1))
    return torch.cat(parts, dim=1)


def _kept_grid(model: Any, prefix: int, size: tuple[int, int], offset: float) -> Tensor:
    """Resize the learned grid to (1, h * w, C), once for each of the last sizes while the model does not learn."""
    positions = model.pos_embed
    traced = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    # a CUDA graph makes its own as well: what is kept here is dropped while the graph still reads it
    if positions.requires_grad or traced or is_recording(positions):
        return _resized_grid(model, prefix, size, offset)
    kept = model.__dict__.setdefault('_resized_grids', {})
    key = (*size, offset, positions.device, positions.dtype, positions._version)
    if key not in kept:
        if len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = _resized_grid(model, prefix, size, offset)
    found: Tensor = kept[key]
    return found


def _resized_grid(model: Any, prefix: int, size: tuple[int, int], offset: float) -> Tensor:
    grid = model.pos_embed[:, prefix:]
    side = math.isqrt(grid.shape[1])
    grid = grid.reshape(side, side, -1)
    if model.reg_token is not None:
        rows, columns = (_antialiased(side, length, grid) for length in size)
    else:
        rows, columns = _meta_bicubic(side, *size, grid, offset)
    return torch.einsum('hy,yxc,wx->hwc', rows, grid, columns).flatten(0, 1)[None]


def _meta_bicubic(side: int, height: int, width: int, like: Tensor, offset: float) -> tuple[Tensor, Tensor]:
    """Make the matrices, (height, side) and (width, side), of bicubic resizing by the factors (size + offset) / side.

    Unit matrices where nothing is resized, for then Meta's code does not interpolate. Matrices, and no branch, because
    an exported graph has to hold all sizes.
    """
    sizes = [torch.arange(1, size + 1, dtype=like.dtype, device=like.device)[-1:] for size in (height, width)]
    added = offset * ((sizes[0] != side) | (sizes[1] != side)).to(like.dtype)
    steps = [side / (size + added) for size in sizes]
    return _bicubic(side, height, steps[0], like), _bicubic(side, width, steps[1], like)


def _bicubic(side: int, size: int, step: Tensor, like: Tensor) -> Tensor:
    """Make the matrix (size, side) of ``F.interpolate(..., mode='bicubic')`` on one axis, places ``step`` apart."""
    places = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * step - 0.5
    # two more on each side: what lies outside is what lies at the border
    taps = torch.arange(-2, side + 2, dtype=like.dtype, device=like.device)
    weights = _cubic(places[:, None] - taps, -0.75)
    first = weights[:, :3].sum(dim=1, keepdim=True)
    last = weights[:, -3:].sum(dim=1, keepdim=True)
    return torch.cat([first, weights[:, 3:-3], last], dim=1)


def _antialiased(side: int, size: int, like: Tensor) -> Tensor:
    """Make the matrix (size, side) of ``F.interpolate(..., mode='bicubic', antialias=True)`` on one axis."""
    numbers = torch.arange(1, size + 1, dtype=like.dtype, device=like.device)
    step = side / numbers[-1:]
    taps = torch.arange(side, dtype=like.dtype, device=like.device) + 0.5
    weights = _cubic((taps - ((numbers - 0.5) * step)[:, None]) / step.clamp(min=1), -0.5)
    return weights / weights.sum(dim=1, keepdim=True)


def _cubic(x: Tensor, a: float) -> Tensor:
    """Evaluate Keys' cubic convolution kernel."""
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
