"""What a guidance method knows of a degraded image, on its way to the places that it guides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.nn.cuda_graph import is_recording
from dinoir_plugin.nn.precision import no_autocast


class Condition(NamedTuple):
    """Hold what a method found in a batch of images. Every field may be missing.

    Attributes:
        maps: Name to feature map (B, C, h, w) over the whole image, on any grid; of a tile, the part that matters.
        tokens: (B, N, D).
        vector: (B, D).
        places: Of a tile, name of a map to where the tile lies on the part that is held: for rows and for columns where
            it begins, its length, and the centres of the image's first and last step, (2, 4), in steps of the map from
            the border of the part. Empty: the maps are those of all that is guided.
    """

    maps: Mapping[str, Tensor] = {}
    tokens: Tensor | None = None
    vector: Tensor | None = None
    places: Mapping[str, Tensor] = {}

    def crop(self, tile: Tile) -> Condition:
        """Narrow to a tile; tokens and vector describe the whole image and stay.

        Tiles of one size have parts of one size, and where they lie is said by numbers on the device: what is computed
        for one of them, as a CUDA graph, serves the others.

        Args:
            tile: Where it lies in what this condition covers, in pixels or in steps of a feature.
        """
        if self.places:
            return self._replace(places={name: _inner(place, tile) for name, place in self.places.items()})
        parts = {name: _part(coarse, tile) for name, coarse in self.maps.items()}
        return self._replace(
            maps={name: part for name, (part, _) in parts.items()},
            places={name: place for name, (_, place) in parts.items()},
        )

    def upsampling(self, name: str, height: int, width: int) -> Upsampling:
        """Tell how a map is upsampled to a feature's grid (bilinear), without doing it.

        Args:
            name: Of the map.
            height: Rows of the feature, which covers the tile, or the whole image where there is none.
            width: Its columns.
        """
        coarse = self.maps[name]
        sides = zip(coarse.shape[-2:], (height, width))
        if name in self.places:
            return Upsampling(coarse, *(_placed(place, a, b) for place, (a, b) in zip(self.places[name], sides)))
        return Upsampling(coarse, *(_matrix(a, b, coarse) for a, b in sides))


class Upsampling(NamedTuple):
    """Hold a map and the matrices that upsample it: ``rows @ map @ columns.T``.

    Attributes:
        map: (B, C, h, w), the part that matters.
        rows: (H, h), in float32 at least.
        columns: (W, w).
    """

    map: Tensor
    rows: Tensor
    columns: Tensor

    def spread(self, coarse: Tensor) -> Tensor:
        """Upsample (B, C, h, w), on the map's grid, to (B, C, H, W), channels_last, in float32 at least."""
        with no_autocast(coarse):
            pixels = coarse.to(self.rows.dtype).permute(0, 2, 3, 1)
            of_rows = (self.rows @ pixels.flatten(2)).unflatten(2, pixels.shape[2:])
            return (self.columns @ of_rows).permute(0, 3, 1, 2)


def _matrix(coarse: int, fine: int, like: Tensor) -> Tensor:
    """Write bilinear resizing of one axis as a (fine, coarse) matrix, float32 at least."""
    exact = torch.promote_types(like.dtype, torch.float32)
    # a traced graph makes its own, and what is made while a CUDA graph is recorded has no numbers yet
    traced = torch.compiler.is_compiling() or torch.compiler.is_exporting() or type(like) is not Tensor
    if traced or is_recording(like):
        return _made_matrix(coarse, fine, exact, like.device)
    return _kept_matrix(coarse, fine, exact, like.device)


def _made_matrix(coarse: int, fine: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Resize the unit vectors by ``F.interpolate``."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(coarse, dtype=dtype, device=device)
        return F.interpolate(unit[None], size=fine, mode='linear', align_corners=False)[0].T


_kept_matrix = lru_cache(maxsize=64)(_made_matrix)


def _part(coarse: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Cut what matters for a tile out of a map, and tell where the tile lies on it, as Condition's ``places``."""
    height, width = coarse.shape[-2:]
    top, rows, above = _span(height, tile.top, tile.height, tile.image_height)
    left, columns, across = _span(width, tile.left, tile.width, tile.image_width)
    exact = torch.promote_types(coarse.dtype, torch.float32)
    place = to_device(torch.tensor([above, across], dtype=exact), coarse.device)
    return coarse[..., top : top + rows, left : left + columns].contiguous(), place


def _span(coarse: int, start: int, size: int, whole: int) -> tuple[int, int, tuple[float, float, float, float]]:
    """Choose the steps of one axis of a map that pixels ``start`` to ``start + size`` of ``whole`` lie on or beside.

    Returns:
        The first one, how many, which follows from their length alone but where the map ends, and a row of ``places``.
    """
    count = min(-(-size * coarse // whole) + 2, coarse)
    first = min(max((2 * start * coarse - whole) // (2 * whole), 0), coarse - count)
    return first, count, (start * coarse / whole - first, size * coarse / whole, -first, coarse - 1 - first)


def _inner(place: Tensor, tile: Tile) -> Tensor:
    """Give the place of a tile of the tile that ``place`` is of."""
    begin, length, low, high = place.unbind(1)
    starts = torch.stack([length[0] * (tile.top / tile.image_height), length[1] * (tile.left / tile.image_width)])
    lengths = [length[0] * (tile.height / tile.image_height), length[1] * (tile.width / tile.image_width)]
    return torch.stack([begin + starts, torch.stack(lengths), low, high], dim=1)


def _placed(place: Tensor, coarse: int, fine: int) -> Tensor:
    """Write bilinear resizing of a part of one axis as a (fine, coarse) matrix; ``place`` is a row of ``places``."""
    begin, length, low, high = place.unbind()
    steps = torch.arange(fine, dtype=place.dtype, device=place.device) + 0.5
    centres = (begin + steps * (length / fine) - 0.5).clamp(low, high)
    return (1 - (centres[:, None] - torch.arange(coarse, device=place.device)).abs()).clamp_min(0)
