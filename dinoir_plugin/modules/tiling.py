"""Restoring a picture of any size in tiles: memory as for one tile, time linear in the pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

DEFAULT_OVERLAP = 64


def check_tile(tile: int, overlap: int) -> None:
    """Raise ValueError where tiles of this side cannot overlap by that much (both in pixels)."""
    if tile < 1 or not 0 <= 2 * overlap <= tile:
        raise ValueError(f'expected an overlap from 0 to half of the tile, got {overlap} of {tile} pixels')


def restore_tiled(
    restore: Callable[[Tensor], Tensor], image: Tensor, tile: int = 512, overlap: int = DEFAULT_OVERLAP
) -> Tensor:
    """Restore ``image`` tile by tile.

    Neighbouring tiles are faded into each other. The outer quarter of an overlap, where a tile lacks the surroundings,
    does not count, so an operation that looks no further than that gives what it gives for the whole picture.

    Args:
        restore: From (B, C, h, w) to the same shape, on any device; no tile is larger than ``tile``.
        image: (B, C, H, W).
        tile: Side of a tile in pixels.
        overlap: Least overlap of neighbouring tiles in pixels, at most half a tile.

    Returns:
        (B, C, H, W), on the device of ``image``.

    Raises:
        ValueError: Sizes that do not fit together, or a ``restore`` that changes the size.
    """
    check_tile(tile, overlap)
    rows, columns = (axis_weights(side, tile, overlap) for side in image.shape[-2:])
    result = torch.zeros_like(image)
    for top, row_weights in rows:
        for left, column_weights in columns:
            window = (..., slice(top, top + len(row_weights)), slice(left, left + len(column_weights)))
            output = restore(image[window])
            if output.shape != image[window].shape:
                shapes = f'{tuple(image[window].shape)} into {tuple(output.shape)}'
                raise ValueError(f'Tiles have to keep their size, but restoring turns {shapes}.')
            weights = (row_weights[:, None] * column_weights).to(image)
            result[window] += output.to(image) * weights
    return result


def axis_weights(side: int, tile: int, overlap: int) -> list[tuple[int, Tensor]]:
    """Where tiles start along one axis, and the weight of each of their pixels there.

    Returns:
        A start and a tensor of min(side, tile) weights for each tile; the weights of all tiles add up to 1 at each
        pixel of the axis.
    """
    tile = min(side, tile)
    count = 1 if tile == side else math.ceil((side - overlap) / (tile - overlap))
    starts = [round(number * (side - tile) / max(count - 1, 1)) for number in range(count)]
    margin = overlap // 4
    ramp = max(overlap - 2 * margin, 1)
    places = torch.arange(tile, dtype=torch.float64) + 0.5
    weights = []
    for start in starts:
        weight = torch.ones(tile, dtype=torch.float64)
        if start > 0:
            weight = ((places - margin) / ramp).clamp(0, 1)
        if start + tile < side:
            weight = torch.minimum(weight, ((tile - places - margin) / ramp).clamp(0, 1))
        weights.append(weight)
    total = torch.zeros(side, dtype=torch.float64)
    for start, weight in zip(starts, weights):
        total[start : start + tile] += weight
    return [(start, weight / total[start : start + tile]) for start, weight in zip(starts, weights)]
