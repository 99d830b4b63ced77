"""Lists of a test split's images by how much is degraded, for releases that do not say which image is how dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import lmdb
import numpy as np

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.imaging.decoding import Array

SUFFIX = '.txt'


def write_lists(roots: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Write beside two finished roots which of their images are how dense, one list for each name.

    A task's ``meta_info_file`` takes such a list. The images are ranked by how far they are from their clean ones,
    see :func:`amount`, and shared out in equal parts: a reading of ours, the release does not say it.

    Args:
        roots: Of the degraded and of the clean images, with the same keys.
        names: From the most to the least.

    Returns:
        The lists: ``<name>.txt`` in the folder of the roots.
    """
    written = []
    for name, part in by_amount(_amounts(roots), names).items():
        written.append(roots[0].parent / f'{name}{SUFFIX}')
        write_atomic(written[-1], ''.join(f'{key}\n' for key in part).encode())
    return written


def by_amount(amounts: Mapping[str, float], names: Sequence[str]) -> dict[str, list[str]]:
    """Share out images, the largest amounts to the first name; equal amounts go by their keys.

    Args:
        amounts: Key to amount.
        names: Of the parts, which differ by one image at most.
    """
    ranked = sorted(amounts, key=lambda key: (-amounts[key], key))
    bounds = [round(part * len(ranked) / len(names)) for part in range(len(names) + 1)]
    return {name: sorted(ranked[first:last]) for name, first, last in zip(names, bounds, bounds[1:])}


def amount(degraded: Array, clean: Array) -> float:
    """Measure how much is degraded: the mean absolute difference, in levels of 8 bits; both (H, W, 3), uint8."""
    return float(np.abs(degraded.astype(np.int16) - clean).mean())


def _amounts(roots: Sequence[Path]) -> dict[str, float]:
    environments = [lmdb.open(str(root), readonly=True, lock=False, readahead=False) for root in roots]
    try:
        with environments[0].begin(buffers=True) as degraded, environments[1].begin(buffers=True) as clean:
            return {
                bytes(key).decode('ascii'): amount(_decoded(data), _decoded(clean.get(key)))
                for key, data in degraded.cursor()
            }
    finally:
        for environment in environments:
            environment.close()


def _decoded(data: memoryview | None) -> Array:
    image = None if data is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise PreparationError('an image of a finished root is missing or cannot be decoded. Delete the root')
    return image
