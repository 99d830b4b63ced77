"""What a reader of image files is: a header, read at once, and pixels and notes on request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import IO

import cv2
import numpy as np

from dinoir_plugin.imaging.decoding import Array, ImageFileError, upright
from dinoir_plugin.imaging.notes import Notes

Stream = IO[bytes]


@dataclass(frozen=True)
class Header:
    """Hold what the header of an image file says.

    Attributes:
        format: Pillow's name of the format.
        height, width: Of the upright image.
        grey: Whether it has one channel of brightness; else it is RGB, or becomes that.
        alpha: Whether it has transparency.
        dtype: Type of its values: uint8, uint16, or what a TIFF says.
        images: How many there are in the file: pages, or frames.
        orientation: How the image lies in the file, 1 (upright) to 8.
    """

    format: str
    height: int
    width: int
    grey: bool
    alpha: bool
    dtype: np.dtype[np.generic]
    images: int = 1
    orientation: int = 1

    @property
    def channels(self) -> int:
        """Count the channels of what :meth:`ImageReader.values` gives."""
        return (1 if self.grey else 3) + self.alpha


class ImageReader(ABC):
    """Read one image of a file.

    Attributes:
        name: What to call the file in errors.
        header: What is known without decoding. The values have its shape and type.
    """

    name: str
    header: Header

    def values(self) -> Array:
        """Decode: upright, (H, W) for grey or (H, W, 2 to 4) with the channels in the order RGB, alpha last."""
        values = self._values()
        header = self.header
        shape = (header.height, header.width, header.channels)[: 2 if header.channels == 1 else 3]
        if values.shape != shape or values.dtype != header.dtype:
            raise ImageFileError(f'{self.name}: its pixels are not what its header says. Is the file whole?')
        return values

    @abstractmethod
    def _values(self) -> Array:
        """Decode, see :meth:`values`."""

    @abstractmethod
    def notes(self) -> Notes:
        """Read what stands beside the pixels, as it lies in the file; after :meth:`values`."""


def oriented(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Give the sides of the upright image."""
    return (width, height) if orientation > 4 else (height, width)


def by_opencv(data: bytes | bytearray, orientation: int, name: str) -> Array:
    """Decode what OpenCV reads: upright, in RGB order."""
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageFileError(f'{name}: OpenCV refuses it: {error.err}') from error
    if values is None:
        raise ImageFileError(f'{name}: expected an image, but it cannot be decoded. Is the file whole?')
    if values.ndim == 3:
        order = [2, 1, 0, 3][: values.shape[2]] if values.shape[2] > 2 else list(range(values.shape[2]))
        values = values[..., order]
    return upright(values, orientation)
