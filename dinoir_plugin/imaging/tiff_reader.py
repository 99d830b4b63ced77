"""TIFFs of all depths: 8 bits by Pillow, deeper ones by OpenCV, channels apart by tifffile."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from dinoir_plugin.imaging.decoding import Array, ImageFileError, check_size, upright
from dinoir_plugin.imaging.notes import (
    EXIF_KEPT,
    EXIF_ORIENTATION,
    Notes,
    exif_resolution,
    orientation_of,
    profile_of,
)
from dinoir_plugin.imaging.pillow_reader import PillowReader
from dinoir_plugin.imaging.reader import Header, ImageReader, Stream, by_opencv, oriented

ICC = 34675
UNSPECIFIED, PREMULTIPLIED = 0, 1  # extra samples
KINDS = ('MINISBLACK', 'RGB')
FORMAT = 'TIFF'


def open_tiff(stream: Stream, name: str, number: int) -> ImageReader:
    """Read the header of a TIFF's page; previews and masks are no pages."""
    file = tifffile.TiffFile(stream)
    pages: list[Any] = list(file.pages)
    numbers = [n for n, page in enumerate(pages) if not (page.is_reduced or page.is_mask)] or [0]
    if number >= len(numbers):
        raise ImageFileError(f'{name}: holds {len(numbers)} images, there is no number {number + 1}')
    page = pages[numbers[number]]
    if page.dtype is None:
        raise ImageFileError(f'{name}: expected 8, 16 or 32 bits a channel, got {page.bitspersample}. Convert it first')
    check_size(page.imagelength, page.imagewidth, name)
    if page.dtype in (np.uint8, np.bool_) and UNSPECIFIED not in page.extrasamples:
        stream.seek(0)
        image = Image.open(stream, formats=[FORMAT])
        image.seek(numbers[number])
        reader = PillowReader(image, name, len(numbers))
        # not Pillow's sides: its releases do not agree on whether they are those of the upright image
        height, width = oriented(page.imagelength, page.imagewidth, reader.header.orientation)
        reader.header = replace(reader.header, height=height, width=width)
        return reader
    return _DeepReader(file, page, stream, name, len(numbers))


class _DeepReader(ImageReader):
    """Read what is not of 8 bits, or has a fourth channel of which the file does not say what it is."""

    def __init__(self, file: tifffile.TiffFile, page: Any, stream: Stream, name: str, images: int) -> None:
        self.name = name
        self._file, self._page, self._stream = file, page, stream
        kind = getattr(page.photometric, 'name', page.photometric)
        samples = page.samplesperpixel
        whole = page.bitspersample == 8 * page.dtype.itemsize
        if kind not in KINDS or samples > 4 or PREMULTIPLIED in page.extrasamples or not whole or page.imagedepth > 1:
            got = f'{kind} with {samples} channels of {page.dtype}'
            got += '' if whole else f', {page.bitspersample} bits used'
            raise ImageFileError(f'{name}: expected grey or RGB with 8 or 16 bits or floats, transparency not '
                                 f'multiplied in, got {got}. Convert it first')
        self._planar = samples > 1 and page.planarconfig != 1
        # OpenCV reads all kinds of compression, but neither grey with alpha nor channels apart
        self._by_tifffile = self._planar or samples == 2 or page.dtype == np.uint8
        if self._by_tifffile and not _is_decoded(page):
            packed = getattr(page.compression, 'name', page.compression)
            raise ImageFileError(f'{name}: {kind} with {samples} channels of {page.dtype} is not read in compression '
                                 f'{packed}. Save it without compression')
        orientation = orientation_of(self._tag(EXIF_ORIENTATION))
        height, width = oriented(page.imagelength, page.imagewidth, orientation)
        self.header = Header(FORMAT, height, width, samples < 3, samples in (2, 4), page.dtype, images, orientation)

    def _tag(self, code: int) -> Any:
        return self._page.tags[code].value if code in self._page.tags else None

    def _values(self) -> Array:
        if self._by_tifffile:
            values = self._page.asarray().astype(self.header.dtype, copy=False)
            return upright(np.moveaxis(values, 0, -1) if self._planar else values, self.header.orientation)
        self._stream.seek(0)
        data = bytearray(self._stream.read())
        page, order = self._page, self._file.byteorder
        if EXIF_ORIENTATION in page.tags and page.tags[EXIF_ORIENTATION].count == 1:
            # OpenCV's releases do not agree on who turns a TIFF
            struct.pack_into(f'{order}H', data, page.tags[EXIF_ORIENTATION].valueoffset, 1)
        # it reads the first page: make this one the first
        first, place = ('Q', 8) if self._file.is_bigtiff else ('I', 4)
        struct.pack_into(f'{order}{first}', data, place, page.offset)
        return by_opencv(data, self.header.orientation, self.name)

    def notes(self) -> Notes:
        """Read profile, names and resolution from the tags."""
        tags = {code: self._tag(code) for code in EXIF_KEPT if code in self._page.tags}
        # tifffile gives a fraction as two numbers
        kept = {code: value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else value
                for code, value in tags.items()}  # fmt: skip
        return Notes(profile_of(self._tag(ICC)), kept, exif_resolution(kept))


def _is_decoded(page: Any) -> bool:
    """Tell whether tifffile undoes this compression here; some take a package that may not be installed."""
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except (KeyError, ValueError, ImportError):
        return False
    return True
