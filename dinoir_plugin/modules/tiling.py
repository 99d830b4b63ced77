"""Restoring a picture of any size in tiles: memory as for one tile, time linear in the pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dinoir_plugin.modules.padding import any_size

DEFAULT_OVERLAP = 64


class Window(NamedTuple):
    """Where a tile lies in its picture; all in pixels of the picture, or all in steps of a feature.

    Attributes:
        top: Rows above it.
        left: Columns to its left.
        height: Its rows.
        width: Its columns.
        picture_height: Rows of the picture.
        picture_width: Columns of the picture.
    """

    top: int
    left: int
    height: int
    width: int
    picture_height: int
    picture_width: int

    def in_steps(self, height: int, width: int) -> Window:
        """The same place in steps of a feature that is ``height`` by ``width`` for the tile.

        Raises:
            ValueError: The tile's borders are no borders of the feature.
        """
        vertical = (self.top * height, self.picture_height * height)
        horizontal = (self.left * width, self.picture_width * width)
        if any(place % self.height for place in vertical) or any(place % self.width for place in horizontal):
            raise ValueError(f'expected tiles that begin and end where a feature of {height}x{width} does, got {self}')
        top, picture_height = (place // self.height for place in vertical)
        left, picture_width = (place // self.width for place in horizontal)
        return Window(top, left, height, width, picture_height, picture_width)

    def part(self, inner: Window) -> Window:
        """Where ``inner``, a window of this tile, lies in the picture; both in the same steps."""
        return self._replace(
            top=self.top + inner.top, left=self.left + inner.left, height=inner.height, width=inner.width
        )


def check_tile(tile: int, overlap: int) -> None:
    """Raise ValueError where tiles of this side cannot overlap by that much (both in pixels)."""
    if tile < 1 or not 0 <= 2 * overlap <= tile:
        raise ValueError(f'expected an overlap from 0 to half of the tile, got {overlap} of {tile} pixels')


def restore_picture(
    net: nn.Module,
    image: Tensor,
    tile: int | None = None,
    overlap: int = DEFAULT_OVERLAP,
    one_guide: bool = True,
    on_tile: Callable[[int, int], object] = lambda done, count: None,
) -> Tensor:
    """Restore with a network, as a whole or in tiles.

    A guided network (one with ``by_window``) sees the whole picture once, and each tile is guided by its share of that.

    Args:
        net: From (B, 3, H, W) to the same shape.
        image: (B, 3, H, W).
        tile: Side of the tiles in pixels, rounded down to what the network divides; None: the picture as a whole.
        overlap: See :func:`restore_tiled`.
        one_guide: False lets a guided network encode each tile by itself: other results, but the memory and the time
            of an encoder that looks at all of a large picture are saved.
        on_tile: See :func:`restore_tiled`.

    Returns:
        (B, 3, H, W).
    """
    height, width = image.shape[-2:]
    if tile is None or max(height, width) <= tile:
        whole = any_size(net, image)
        on_tile(1, 1)
        return whole
    guided: Any = net
    if one_guide and hasattr(net, 'by_window'):
        multiple: int = guided.size_multiple
        padded = guided.padded(image)
        tile = max(tile // multiple, 1) * multiple
        overlap = min(-(-overlap // multiple) * multiple, tile // 2 // multiple * multiple)
        restored = restore_tiled(guided.by_window(padded), padded, tile, overlap, multiple, on_tile)
        return restored[..., :height, :width]
    return restore_tiled(lambda part, window: any_size(net, part), image, tile, overlap, on_tile=on_tile)


def restore_tiled(
    restore: Callable[[Tensor, Window], Tensor],
    image: Tensor,
    tile: int = 512,
    overlap: int = DEFAULT_OVERLAP,
    multiple: int = 1,
    on_tile: Callable[[int, int], object] = lambda done, count: None,
) -> Tensor:
    """Restore ``image`` tile by tile.

    Neighbouring tiles are faded into each other. The outer quarter of an overlap, where a tile lacks the surroundings,
    does not count, so an operation that looks no further than that gives what it gives for the whole picture.

    Args:
        restore: From (B, C, h, w) and its place to the same shape, on any device; no tile is larger than ``tile``.
        image: (B, C, H, W).
        tile: Side of a tile in pixels.
        overlap: Least overlap of neighbouring tiles in pixels, at most half a tile.
        multiple: Tiles start at multiples of it; ``tile``, ``overlap`` and both sides of the picture have to be some.
        on_tile: Called after each tile with how many are done, and how many there are.

    Returns:
        (B, C, H, W), on the device of ``image``.

    Raises:
        ValueError: Sizes that do not fit together, or a ``restore`` that changes the size.
    """
    check_tile(tile, overlap)
    if any(side % multiple for side in (tile, overlap, *image.shape[-2:])):
        sides = f'{tile}, {overlap} and {tuple(image.shape[-2:])}'
        raise ValueError(f'expected tile, overlap and picture to be multiples of {multiple}, got {sides}')
    result = torch.zeros_like(image)
    tiles = list(windows(image.shape[-2], image.shape[-1], tile, overlap, multiple))
    for number, (window, rows, columns) in enumerate(tiles, start=1):
        place = (..., *slices(window))
        output = restore(image[place], window)
        if output.shape != image[place].shape:
            shapes = f'{tuple(image[place].shape)} into {tuple(output.shape)}'
            raise ValueError(f'Tiles have to keep their size, but restoring turns {shapes}.')
        result[place] += output.to(image) * (rows[:, None] * columns).to(image)
        on_tile(number, len(tiles))
    return result


def windows(
    height: int, width: int, tile: int, overlap: int, multiple: int = 1
) -> Iterator[tuple[Window, Tensor, Tensor]]:
    """The tiles of a picture, each with weights of its rows and columns; their products add up to 1 at each pixel."""
    columns = axis_weights(width, tile, overlap, multiple)
    for top, row_weights in axis_weights(height, tile, overlap, multiple):
        for left, column_weights in columns:
            window = Window(top, left, len(row_weights), len(column_weights), height, width)
            yield window, row_weights, column_weights


def slices(window: Window) -> tuple[slice, slice]:
    """Its rows and columns."""
    return slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)


def axis_weights(side: int, tile: int, overlap: int, multiple: int = 1) -> list[tuple[int, Tensor]]:
    """Where tiles start along one axis, and the weight of each of their pixels there.

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
