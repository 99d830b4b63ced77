"""An image as it is restored: pixels, transparency, and what cameras and editors wrote beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from dinoir_plugin.imaging.decoding import Array, ImageFileError
from dinoir_plugin.imaging.notes import Resolution, exif_block, turned
from dinoir_plugin.imaging.pillow_reader import PillowReader
from dinoir_plugin.imaging.reader import Header, ImageReader
from dinoir_plugin.imaging.reading import check_single, open_image


@dataclass(frozen=True)
class DecodedImage:
    """Hold an image, upright.

    Attributes:
        pixels: uint8, uint16, or float32 in [0, 1]; (H, W) for grey or (H, W, 3), RGB.
        alpha: Transparency, (H, W) in the type of ``pixels``; None: none.
        icc: Colour profile.
        exif: EXIF block, its orientation upright and its thumbnail left out.
        format: Pillow's name of the file's format; empty where it came from no file.
        resolution: Dots to an inch, across and down; None: not said.
    """

    pixels: Array
    alpha: Array | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    format: str = ''
    resolution: Resolution | None = None

    def with_pixels(self, pixels: Array) -> DecodedImage:
        """Give the same image with other pixels."""
        return replace(self, pixels=pixels)


def read_image(path: str | Path, number: int | None = None) -> DecodedImage:
    """Read a still image with 8 or 16 bits, or a TIFF with floats in [0, 1].

    Turned upright as its EXIF orientation says. CMYK becomes sRGB, by its profile where it has one.

    Args:
        path: The file; its content says what it is, and not its name.
        number: Which of its images, from 0; None: the only one.

    Raises:
        ImageFileError: It is no such image, or not whole.
    """
    with open_image(Path(path), number=number or 0) as reader:
        if number is None:
            check_single(reader.header, reader.name)
        return _decoded(reader)


def from_pillow(image: Image.Image, name: str = 'the image') -> DecodedImage:
    """Read an image that Pillow has opened, and turn it upright.

    Raises:
        ImageFileError: It moves, has several pages, or a mode that cannot be restored.
    """
    reader = PillowReader(image, name)
    check_single(reader.header, name)
    return _decoded(reader)


def check_restorable(header: Header, name: str) -> None:
    """Refuse values of types that are not restored."""
    if header.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise ImageFileError(f'{name}: expected grey or RGB with 8 or 16 bits or floats, got {header.dtype}. '
                             'Convert it first')


def _decoded(reader: ImageReader) -> DecodedImage:
    header = reader.header
    check_restorable(header, reader.name)
    values = reader.values()
    if header.dtype.kind == 'f':
        values = check_values(values, reader.name)
    notes = reader.notes()
    pixels, alpha = split_alpha(values)
    block = exif_block(notes.exif, header.height, header.width)
    return DecodedImage(pixels, alpha, notes.icc, block, header.format, turned(notes.resolution, header.orientation))


def to_pillow(decoded: DecodedImage) -> Image.Image:
    """Make a Pillow image of it, with profile and EXIF in its ``info``; 8 bits, or grey with 16."""
    image = Image.fromarray(join_alpha(decoded.pixels, decoded.alpha))
    for key, value in (('icc_profile', decoded.icc), ('exif', decoded.exif), ('dpi', decoded.resolution)):
        if value:
            image.info[key] = value
    return image


def split_alpha(values: Array) -> tuple[Array, Array | None]:
    """Split grey, grey with alpha, RGB or RGB with alpha, (H, W[, C]), into pixels and alpha."""
    if values.ndim == 2 or values.shape[2] == 3:
        return values, None
    if values.shape[2] == 1:
        return values[..., 0], None
    if values.shape[2] == 2:
        return values[..., 0], values[..., 1]
    return values[..., :3], values[..., 3]


def join_alpha(pixels: Array, alpha: Array | None) -> Array:
    """Undo :func:`split_alpha`; the result is contiguous."""
    return np.ascontiguousarray(pixels if alpha is None else np.dstack([pixels, alpha]))


def check_values(values: Array, name: str) -> Array:
    """Give float values as float32.

    Raises:
        ImageFileError: Some are no numbers, or outside of [0, 1].
    """
    odd = values.size - int(np.count_nonzero(np.isfinite(values)))
    if odd:
        raise ImageFileError(f'{name}: {odd} of its {values.size} values are no numbers (NaN, infinite)')
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageFileError(f'{name}: expected float values from 0 to 1, got {_told(low)} to {_told(high)}. '
                             'Scale them first')
    return values.astype(np.float32)


def _told(value: float) -> str:
    """Write a number with as many digits as tell it from 0 and 1."""
    short = f'{value:g}'
    return short if (float(short) < 0, float(short) > 1) == (value < 0, value > 1) else repr(value)
