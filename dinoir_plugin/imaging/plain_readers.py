"""Formats that are read without a library: BMP of 24 bits, for speed, and PNM, for its many depths."""

from __future__ import annotations

import re
import struct

import numpy as np

from dinoir_plugin.imaging.decoding import Array, ImageFileError, check_size
from dinoir_plugin.imaging.notes import Notes, dots_per_inch
from dinoir_plugin.imaging.reader import Header, ImageReader, Stream

METRES = 0.0254  # in an inch
BMP_HEADER, BMP_V5_HEADER = 54, 138
_SPACE = rb'(?:\s|#[^\n]*\n)+'
# the mark (2, 5 grey; 3, 6 RGB; 2, 3 as text), width, height, the number for white, and one character before the pixels
_PNM = re.compile(rb'P([2356])' + 3 * (_SPACE + rb'(\d{1,10})') + rb'(?:#[^\n]*)?\s')
_LONGEST_HEADER = 4096
_TEXT = (2, 3)


def is_plain_bmp(start: bytes) -> bool:
    """Tell from its first bytes whether a BMP has 24 bits and no compression."""
    return len(start) >= BMP_HEADER and start[14] >= 40 and struct.unpack('<HHI', start[26:34]) == (1, 24, 0)


class BmpReader(ImageReader):
    """Read a BMP of 24 bits as a view of its bytes, which training on LMDBs of them lives by."""

    def __init__(self, stream: Stream, name: str) -> None:
        stream.seek(0)
        self._data = stream.read()
        self.name = name
        self._start, width, height, across, down = struct.unpack('<10xI4xii12xii', self._data[:46])
        check_size(abs(height), width, name)
        self._from_below = height > 0
        self._notes = Notes(bmp_profile(stream), {}, dots_per_inch(across * METRES, down * METRES))
        self.header = Header('BMP', abs(height), width, False, False, np.dtype(np.uint8))

    def _values(self) -> Array:
        height, width = self.header.height, self.header.width
        stride = (3 * width + 3) // 4 * 4
        if len(self._data) < self._start + height * stride - (stride - 3 * width):
            raise _cut(self.name)
        rows = np.ndarray((height, width, 3), np.uint8, self._data, self._start, (stride, 3, 1))
        return rows[:: -1 if self._from_below else 1, :, ::-1]

    def notes(self) -> Notes:
        """Give profile and resolution."""
        return self._notes


def is_pnm(start: bytes) -> bool:
    """Tell from its first bytes whether a file is a PGM or PPM."""
    return re.match(rb'P[2356][\s#]', start) is not None


class PnmReader(ImageReader):
    """Read a PGM or PPM of any depth, scaled to 8 bits (white of up to 255) or 16."""

    def __init__(self, stream: Stream, name: str, number: int) -> None:
        self.name = name
        images = []
        place: int | None = 0
        while place is not None:
            images.append(_PnmImage.at(stream, place, name))
            place = images[-1].following(stream)
        if number >= len(images):
            raise ImageFileError(f'{name}: holds {len(images)} images, there is no number {number + 1}')
        self._stream, self._image = stream, images[number]
        height, width = self._image.height, self._image.width
        depth = np.dtype(np.uint8 if self._image.white < 256 else np.uint16)
        self.header = Header('PPM', height, width, self._image.channels == 1, False, depth, len(images))

    def _values(self) -> Array:
        image, depth = self._image, self.header.dtype
        values = image.read(self._stream, self.name)
        full = np.iinfo(np.uint8 if depth == np.uint8 else np.uint16).max
        if image.white != full:
            if values.size and values.max() > image.white:
                raise ImageFileError(f'{self.name}: its header says {image.white} for white, but it has values up to '
                                     f'{values.max()}')
            table = np.rint(np.arange(image.white + 1) * (full / image.white)).astype(depth)
            values = table[values]
        shape = (image.height, image.width, 3) if image.channels == 3 else (image.height, image.width)
        return values.astype(depth, copy=False).reshape(shape)

    def notes(self) -> Notes:
        """Give nothing: PNM holds pixels only."""
        return Notes()


class _PnmImage:
    """Hold the header of one image of a file, which may hold several, one behind the other."""

    def __init__(self, mark: int, width: int, height: int, white: int, start: int) -> None:
        self.is_text = mark in _TEXT
        self.channels = 3 if mark in (3, 6) else 1
        self.width, self.height, self.white, self.start = width, height, white, start

    @classmethod
    def at(cls, stream: Stream, place: int, name: str) -> _PnmImage:
        """Read a header."""
        stream.seek(place)
        found = _PNM.match(stream.read(_LONGEST_HEADER))
        if found is None:
            raise ImageFileError(f'{name}: expected an image, but its header is not that of a PGM or PPM')
        mark, width, height, white = (int(text) for text in found.groups())
        check_size(height, width, name)
        if not 1 <= white <= 65535:
            raise ImageFileError(f'{name}: expected 1 to 65535 for white, got {white}')
        return cls(mark, width, height, white, place + found.end())

    @property
    def count(self) -> int:
        """Count the values."""
        return self.width * self.height * self.channels

    def following(self, stream: Stream) -> int | None:
        """Find the image behind this one; None where there is none."""
        if self.is_text:
            return None
        place = self.start + self.count * (1 if self.white < 256 else 2)
        stream.seek(place)
        rest = stream.read(16)
        begins = rest.lstrip()
        return place + len(rest) - len(begins) if is_pnm(begins) else None

    def read(self, stream: Stream, name: str) -> Array:
        """Read the values as they are stored."""
        stream.seek(self.start)
        if self.is_text:
            words = re.sub(rb'#[^\n]*', b'', stream.read()).split()[: self.count]
            if len(words) < self.count:
                raise _cut(name)
            return np.array(words, np.int64)
        depth = np.dtype('u1' if self.white < 256 else '>u2')
        data = stream.read(self.count * depth.itemsize)
        if len(data) < self.count * depth.itemsize:
            raise _cut(name)
        return np.frombuffer(data, depth)


def _cut(name: str) -> ImageFileError:
    return ImageFileError(f'{name}: expected an image, but its end is missing. Is the file whole?')


def bmp_profile(stream: Stream) -> bytes | None:
    """Read the colour profile that a BMP of version 5 may have inside."""
    stream.seek(0)
    start = stream.read(BMP_V5_HEADER)
    if len(start) < BMP_V5_HEADER or start[14] != BMP_V5_HEADER - 14 or start[70:74] != b'DEBM':
        return None
    place, size = struct.unpack('<II', start[126:134])
    stream.seek(14 + place)
    return stream.read(size) or None
