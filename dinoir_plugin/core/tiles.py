"""Tiles of an image: where they lie, and how neighbours are faded into each other. Pure geometry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dinoir_plugin.core.transfer import to_device

CPU = torch.device('cpu')


class Tile(NamedTuple):
    """Hold where a tile lies in its image; all in pixels of the image, or all in steps of a feature.

    Attributes:
        top: Rows above it.
        left: Columns to its left.
        height: Its rows.
        width: Its columns.
        image_height: Rows of the image.
        image_width: Columns of the image.
    """

    top: int
    left: int
    height: int
    width: int
    image_height: int
    image_width: int


def check_tile(tile: int, overlap: int) -> None:
    """Raise ValueError where tiles of this side cannot overlap by that much (both in pixels)."""
    if tile < 1 or not 0 <= 2 * overlap <= tile:
        raise ValueError(f'expected an overlap from 0 to half of the tile, got {overlap} of {tile} pixels')


def tiles(
    height: int, width: int, tile: int, overlap: int, multiple: int = 1, device: torch.device = CPU
) -> Iterator[tuple[Tile, Tensor, Tensor]]:
    """Share an image out to tiles, with weights of rows and columns whose products add up to 1 at each pixel.

    Args:
        height: Of the image.
        width: Of the image.
        tile: Side of the tiles.
        overlap: Of neighbours, at least.
        multiple: Of the places where tiles start.
        device: Where the weights are wanted.
    """
    rows, columns = (
        [(start, to_device(weights, device)) for start, weights in axis_weights(side, tile, overlap, multiple)]
        for side in (height, width)
    )
    for top, row_weights in rows:
        for left, column_weights in columns:
            place = Tile(top, left, len(row_weights), len(column_weights), height, width)
            yield place, row_weights, column_weights


def slices(place: Tile) -> tuple[slice, slice]:
    """Give the rows and columns of a tile."""
    return slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)


def axis_weights(side: int, tile: int, overlap: int, multiple: int = 1) -> list[tuple[int, Tensor]]:
    """Tell where tiles start along one axis, and the weight of each of their pixels there.

    Returns:
        A start and a tensor of min(side, tile) weights for each tile; the weights of all tiles add up to 1 at each
        pixel of the axis.
    """
    tile = min(side, tile)
    count = 1 if tile == side else math.ceil((side - overlap) / (tile - overlap))
    # evenly, rounded down to steps of `multiple`: as that divides the overlap, it never gets smaller
    steps = (side - tile) // multiple
    starts = [number * steps // max(count - 1, 1) * multiple for number in range(count)]
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
