"""Restore an image of any size in tiles: memory as for one tile, time linear in the pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dinoir_plugin.core.tiles import Tile, check_tile, slices, tiles
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.inference.padding import any_size
from dinoir_plugin.inference.sampler import Feedforward, Network, Sampler

DEFAULT_OVERLAP = 64
# called with how many tiles are done, and how many there are
OnTile = Callable[[int, int], object]


def no_report(done: int, count: int) -> None:
    """Pass over the progress of tiles."""


def restore_image(
    network: nn.Module,
    image: Tensor,
    tile: int | None = None,
    overlap: int = DEFAULT_OVERLAP,
    one_guide: bool = True,
    on_tile: OnTile = no_report,
    sampler: Sampler | None = None,
    device: torch.device | None = None,
    others: Mapping[str, Any] | None = None,
) -> Tensor:
    """Restore with a network, as a whole or in tiles.

    A guided network (one with ``by_tile``) sees the whole image once, and each tile is guided by its share of that.

    Args:
        network: From (B, 3, H, W) to the same shape, or to a multiple of it where the image goes as a whole.
        image: (B, 3, H, W).
        tile: Side of the tiles in pixels, rounded down to what the network divides; None: the image as a whole.
        overlap: See :func:`restore_tiled`.
        one_guide: False lets a guided network encode each tile by itself: other results, but the memory and the time
            of an encoder that looks at all of a large image are saved.
        on_tile: See :func:`restore_tiled`.
        sampler: How the network restores; None: in one pass.
        device: The network's, where the image is on another: only its tiles go there. None: the image's.
        others: What else the network takes in each call, by name.

    Returns:
        (B, 3, H, W), on the device of ``image``.
    """
    how, place = sampler or Feedforward(), device or image.device
    apart = partial(any_size, network, **(others or {}))

    def run(call: Network, part: Tensor) -> Tensor:
        return how.restore(call, part.to(place)).to(part.device)

    height, width = image.shape[-2:]
    if tile is None or max(height, width) <= tile:
        whole = run(apart, image)
        on_tile(1, 1)
        return whole
    if not (one_guide and hasattr(network, 'by_tile')):
        return restore_tiled(lambda part, where: run(apart, part), image, tile, overlap, on_tile=on_tile)
    guided: Any = network
    multiple: int = guided.size_multiple
    padded = guided.padded(image)
    call = partial(guided.by_tile(padded.to(place)), **(others or {}))
    tile = max(tile // multiple, 1) * multiple
    overlap = min(-(-overlap // multiple) * multiple, tile // 2 // multiple * multiple)
    restored = restore_tiled(
        lambda part, where: run(partial(call, where), part), padded, tile, overlap, multiple, on_tile
    )
    return restored[..., :height, :width]


def restore_tiled(
    restore: Callable[[Tensor, Tile], Tensor],
    image: Tensor,
    tile: int = 512,
    overlap: int = DEFAULT_OVERLAP,
    multiple: int = 1,
    on_tile: OnTile = no_report,
) -> Tensor:
    """Restore ``image`` tile by tile.

    Neighbouring tiles are faded into each other. The outer quarter of an overlap, where a tile lacks the surroundings,
    does not count, so an operation that looks no further than that gives what it gives for the whole image.

    Args:
        restore: From (B, C, h, w) and its place to the same shape, on any device; no tile is larger than ``tile``.
        image: (B, C, H, W).
        tile: Side of a tile in pixels.
        overlap: Least overlap of neighbouring tiles in pixels, at most half a tile.
        multiple: Tiles start at multiples of it; ``tile``, ``overlap`` and both sides of the image have to be some.
        on_tile: Called after each tile with how many are done, and how many there are.

    Returns:
        (B, C, H, W), on the device of ``image``.

    Raises:
        ValueError: Sizes that do not fit together, or a ``restore`` that changes the size.
    """
    check_tile(tile, overlap)
    if any(side % multiple for side in (tile, overlap, *image.shape[-2:])):
        sides = f'{tile}, {overlap} and {size_text(image.shape[-2:])}'
        raise ValueError(f'expected tile, overlap and image to be multiples of {multiple}, got {sides}')
    result = torch.zeros_like(image)
    places = list(tiles(image.shape[-2], image.shape[-1], tile, overlap, multiple))
    for number, (tile_place, rows, columns) in enumerate(places, start=1):
        place = (..., *slices(tile_place))
        output = restore(image[place], tile_place)
        if output.shape != image[place].shape:
            shapes = f'{tuple(image[place].shape)} into {tuple(output.shape)}'
            raise ValueError(f'Tiles have to keep their size, but restoring turns {shapes}.')
        result[place] += output.to(image) * (rows[:, None] * columns).to(image)
        on_tile(number, len(places))
    return result
