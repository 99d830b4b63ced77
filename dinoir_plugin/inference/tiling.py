"""Restore an image of any size in tiles: memory as for one tile, time linear in the pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dinoir_plugin.core.outputs import as_outputs
from dinoir_plugin.core.tiles import Tile, check_tile, slices, tiles
from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.inference.graphs import Calls, Graphs, directly
from dinoir_plugin.inference.padding import any_size
from dinoir_plugin.inference.sampler import Feedforward, Network, Sampler

DEFAULT_OVERLAP = 64
# pixels of an image that a guided network looks at as a whole: a vision transformer's time grows with their square
MOST_ENCODED = 2048 * 2048
# called with how many tiles are done, and how many there are
OnTile = Callable[[int, int], object]


def no_report(done: int, count: int) -> None:
    """Pass over the progress of tiles."""


def restore_image(
    network: nn.Module,
    image: Tensor,
    tile: int | None = None,
    overlap: int = DEFAULT_OVERLAP,
    one_guide: bool | None = None,
    on_tile: OnTile = no_report,
    sampler: Sampler | None = None,
    device: torch.device | None = None,
    others: Mapping[str, Any] | None = None,
    names: Sequence[str] = (),
    graphs: Graphs | None = None,
) -> Tensor:
    """Restore with a network, as a whole or in tiles.

    A guided network (one with ``by_tile``) sees the whole image once, however often the sampler calls it, and each tile
    is guided by its share of that; of a large image each tile is seen by itself. In tiles each call of the sampler goes
    through all of them.

    Args:
        network: From (B, 3, H, W) to the same shape, or to a multiple of it where the image goes as a whole.
        image: (B, 3, H, W).
        tile: Side of the tiles in pixels, rounded down to what the network divides; None: the image as a whole.
        overlap: See :func:`restore_tiled`.
        one_guide: Whether tiles are guided by their shares of what a guided network sees in the whole image, or each
            by itself: other results, but the memory and the time of an encoder that looks at all of a large image are
            saved. None: see :func:`shares_guide`.
        on_tile: Called after each tile of each call with how many are done, and how many there are in all.
        sampler: How the network restores; None: in one pass.
        device: The network's, where the image is on another: only its tiles go there. None: the image's.
        others: What else the network takes in each call, by name.
        names: Of the images' files, without folders and endings, where they are known.
        graphs: Calls the network on a GPU; None: it is called as usual.

    Returns:
        (B, 3, H, W), on the device of ``image``.
    """
    how, place = sampler or Feedforward(), device or image.device
    progress, given = _Progress(on_tile, how.calls(network)), dict(others or {})
    call = graphs.of(network, place) if graphs else directly
    if tile is None or max(image.shape[-2:]) <= tile:
        there = image.to(place)
        whole = _Whole(network, call, there, given, progress)
        return how.restore(Network(whole, network, names), there).to(image.device)
    guided = shares_guide(network, *image.shape[-2:]) if one_guide is None else one_guide
    in_tiles = _InTiles(network, call, image, (tile, overlap), guided, given, place, progress)
    return how.restore(Network(in_tiles, network, names), image)


def shares_guide(network: nn.Module, height: int, width: int) -> bool:
    """Tell whether the tiles of an image of that size should be guided by what is seen in all of it.

    They should where that takes no longer than restoring them: up to MOST_ENCODED pixels, or with an encoder that sees
    all images in one size (``of_one_size`` of the network).
    """
    return height * width <= MOST_ENCODED or getattr(network, 'of_one_size', False)


class _Progress:
    """Count tiles over all calls of a sampler, each of which goes through all of them."""

    def __init__(self, on_tile: OnTile, calls: int) -> None:
        self._on_tile, self._calls, self._before = on_tile, calls, 0

    def __call__(self, done: int, count: int) -> None:
        self._on_tile(self._before + done, self._calls * count)
        if done == count:
            self._before += count


class _Whole:
    """Call a network for whole images, which a guided one has looked at before."""

    def __init__(
        self, network: Any, call: Calls, image: Tensor, given: Mapping[str, Any], progress: _Progress
    ) -> None:
        looked = {'encodings': call(network.encode, image)} if hasattr(network, 'by_tile') else {}
        self._network, self._call, self._given, self._progress = network, call, {**given, **looked}, progress

    def __call__(self, lq: Tensor, **others: Any) -> Tensor:
        result: Tensor = self._call(any_size, self._network, lq, **self._given, **others)
        self._progress(1, 1)
        return result


class _InTiles:
    """Call a network for an image tile by tile; arguments as :func:`restore_image` has them."""

    def __init__(
        self,
        network: Any,
        call: Calls,
        image: Tensor,
        tiling: tuple[int, int],
        one_guide: bool,
        given: Mapping[str, Any],
        place: torch.device,
        progress: _Progress,
    ) -> None:
        guided = one_guide and hasattr(network, 'by_tile')
        self._multiple: int = network.size_multiple if guided else 1
        self._pad: Callable[[Tensor], Tensor] = network.padded if guided else _as_it_is
        self._by_tile = network.by_tile(self._pad(image).to(place), call) if guided else None
        self._network, self._call, self._given, self._place, self._progress = network, call, given, place, progress
        tile, overlap = tiling
        self._side = max(tile // self._multiple, 1) * self._multiple
        most = self._side // 2 // self._multiple
        self._overlap = min(-(-overlap // self._multiple), most) * self._multiple

    def __call__(self, lq: Tensor, **others: Any) -> Tensor:
        images = {name: self._pad(value) for name, value in others.items() if _is_image(value, lq)}
        rest = {name: value for name, value in others.items() if name not in images}
        given = tree_map_only(Tensor, lambda value: to_device(value, self._place), {**self._given, **rest})

        def restore(part: Tensor, where: Tile) -> Tensor:
            place = (..., *slices(where))
            # of the layout that a recorded call reads: the same kernels either way
            part, *parts = (
                to_device(value, self._place).contiguous()
                for value in (part, *(value[place] for value in images.values()))
            )
            cut = dict(zip(images, parts))
            if self._by_tile is None:
                restored: Tensor = self._call(any_size, self._network, part, **given, **cut)
                return restored
            return as_outputs(self._by_tile(where, part, **given, **cut)).image

        result = restore_tiled(restore, self._pad(lq), self._side, self._overlap, self._multiple, self._progress)
        return result[..., : lq.shape[-2], : lq.shape[-1]]


def _as_it_is(image: Tensor) -> Tensor:
    return image


def _is_image(value: Any, like: Tensor) -> bool:
    return isinstance(value, Tensor) and value.ndim == like.ndim and value.shape[-2:] == like.shape[-2:]


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
    places = list(tiles(image.shape[-2], image.shape[-1], tile, overlap, multiple, image.device))
    for number, (tile_place, rows, columns) in enumerate(places, start=1):
        place = (..., *slices(tile_place))
        output = restore(image[place], tile_place)
        if output.shape != image[place].shape:
            shapes = f'{tuple(image[place].shape)} into {tuple(output.shape)}'
            raise ValueError(f'Tiles have to keep their size, but restoring turns {shapes}.')
        result[place] += output.to(image) * (rows[:, None] * columns).to(image)
        on_tile(number, len(places))
    return result
