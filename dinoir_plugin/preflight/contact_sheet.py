"""One image that shows samples of every task, degraded beside target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

DecodedImage = np.ndarray[Any, np.dtype[np.uint8]]

SAMPLES = 3
CELL = 160
GAP = 4
BETWEEN_PAIRS = 16
LABEL_HEIGHT = 22
WHITE, BLACK = 255, (0, 0, 0)
PAIR_WIDTH = 2 * CELL + GAP
WIDTH = SAMPLES * PAIR_WIDTH + (SAMPLES - 1) * BETWEEN_PAIRS
ROW_HEIGHT = LABEL_HEIGHT + CELL + GAP


class SheetRow(NamedTuple):
    """Hold samples of one task.

    Attributes:
        label: What to write above them.
        pairs: Up to SAMPLES times (degraded, target): uint8, (H, W, 3), BGR.
    """

    label: str
    pairs: Sequence[tuple[DecodedImage, DecodedImage]]


def write_sheet(rows: Sequence[SheetRow], path: Path) -> None:
    """Write a PNG of WIDTH pixels with ROW_HEIGHT for each row, below one line that says which side is which.

    Args:
        rows: In order from the top, at least one.
        path: Where to; its folder exists.

    Raises:
        OSError: It cannot be written.
    """
    sheet = np.full((LABEL_HEIGHT + len(rows) * ROW_HEIGHT, WIDTH, 3), WHITE, np.uint8)
    for pair in range(SAMPLES):
        for column, title in enumerate(('degraded', 'target')):
            _write(sheet, title, _left(pair, column), 0)
    for number, row in enumerate(rows):
        top = LABEL_HEIGHT + number * ROW_HEIGHT
        _write(sheet, row.label, 0, top)
        for pair, images in enumerate(row.pairs):
            for column, image in enumerate(images):
                _place(sheet, image, _left(pair, column), top + LABEL_HEIGHT)
    if not cv2.imwrite(str(path), sheet):
        raise OSError(f'cannot write {path}')


def _left(pair: int, column: int) -> int:
    return pair * (PAIR_WIDTH + BETWEEN_PAIRS) + column * (CELL + GAP)


def _write(sheet: DecodedImage, text: str, left: int, top: int) -> None:
    cv2.putText(sheet, text, (left + 2, top + LABEL_HEIGHT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, BLACK, 1, cv2.LINE_AA)


def _place(sheet: DecodedImage, image: DecodedImage, left: int, top: int) -> None:
    """Put an image into its cell: a large one made smaller, a small patch with each pixel as a square of pixels."""
    longest = max(image.shape[:2])
    scale = CELL // longest if longest <= CELL else CELL / longest
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    how = cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA
    image = cv2.resize(image, size, interpolation=how).astype(np.uint8, copy=False)
    height, width = image.shape[:2]
    sheet[top : top + height, left : left + width] = image
