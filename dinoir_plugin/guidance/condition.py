"""What a guidance method knows of a degraded image, on its way to the places that it guides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.core.tiles import Tile


class Condition(NamedTuple):
    """Hold what a method found in a batch of images. Every field may be missing.

    Attributes:
        maps: Name to feature map (B, C, h, w) over the whole image, on any grid.
        tokens: (B, N, D).
        vector: (B, D).
        tile: Where the network's input, or the part of a feature that is guided now, lies in the image that this
            describes; None: it is all of it.
    """

    maps: Mapping[str, Tensor] = {}
    tokens: Tensor | None = None
    vector: Tensor | None = None
    tile: Tile | None = None

    def crop(self, tile: Tile) -> Condition:
        """Narrow to a tile; tokens and vector describe the whole image and stay.

        Args:
            tile: Where it lies in what this condition covers, in pixels or in steps of a feature.
        """
        if self.tile is not None:
            tile = self.tile.in_steps(tile.image_height, tile.image_width).part(tile)
        return self._replace(tile=tile)

    def upsampling(self, name: str, height: int, width: int) -> Upsampling:
        """Tell how a map is upsampled to a feature's grid (bilinear), without doing it.

        Args:
            name: Of the map.
            height: Rows of the feature, which covers the tile, or the whole image where there is none.
            width: Its columns.

        Raises:
            ValueError: The tile's borders are no borders of the feature.
        """
        coarse = self.maps[name]
        place = self.tile and self.tile.in_steps(height, width)
        if place is None:
            return Upsampling(coarse, *(_matrix(a, b, coarse) for a, b in zip(coarse.shape[-2:], (height, width))))
        top, rows = _part(coarse.shape[-2], place.top, place.height, place.image_height, coarse)
        left, columns = _part(coarse.shape[-1], place.left, place.width, place.image_width, coarse)
        return Upsampling(coarse[..., top : top + rows.shape[1], left : left + columns.shape[1]], rows, columns)


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


def _matrix(coarse: int, fine: int, like: Tensor) -> Tensor:
    """Write bilinear resizing of one axis as a (fine, coarse) matrix, float32 at least."""
    exact = torch.promote_types(like.dtype, torch.float32)
    # a traced graph makes its own, and what is made while a CUDA graph is recorded has no numbers yet
    traced = torch.compiler.is_compiling() or torch.compiler.is_exporting() or type(like) is not Tensor
    if traced or (like.is_cuda and torch.cuda.is_current_stream_capturing()):
        return _made_matrix(coarse, fine, exact, like.device)
    return _kept_matrix(coarse, fine, exact, like.device)


def _made_matrix(coarse: int, fine: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Resize the unit vectors by ``F.interpolate``."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(coarse, dtype=dtype, device=device)
        return F.interpolate(unit[None], size=fine, mode='linear', align_corners=False)[0].T


_kept_matrix = lru_cache(maxsize=64)(_made_matrix)


def _part(coarse: int, start: int, size: int, whole: int, like: Tensor) -> tuple[int, Tensor]:
    """Take rows ``start`` to ``start + size`` of the matrix for ``whole`` rows, without its columns of zeros.

    Returns:
        The first column kept, and the matrix (size, number of columns).
    """
    matrix = _matrix(coarse, whole, like)[start : start + size]
    used = matrix.any(dim=0).nonzero().flatten()
    first, last = int(used[0]), int(used[-1])
    return first, matrix[:, first : last + 1]
