"""Images that Pillow reads: all of 8 bits, and what stands beside the pixels of a PNG of 16."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from dinoir_plugin.imaging.decoding import PNG_MARK, Array, ImageFileError, upright
from dinoir_plugin.imaging.notes import EXIF_ORIENTATION, Notes, orientation_of, pillow_notes
from dinoir_plugin.imaging.reader import Header, ImageReader, Stream, by_opencv, oriented

GREY = ('1', 'L', 'LA', 'La')
DEEP_GREY = ('I;16', 'I;16L', 'I;16B', 'I;16N')
COLOUR = ('P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr')
CLEAR = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
PNG_GREY, PNG_COLOUR, PNG_GREY_ALPHA, PNG_ALPHA = 0, 2, 4, 6


class PillowReader(ImageReader):
    """Read what Pillow has opened.

    Args:
        image: At the page that is meant.
        name: What to call it in errors.
        images: How many there are in the file; None: as Pillow counts.
        orientation: Where it is known otherwise than from Pillow; None: as its EXIF says.
    """

    def __init__(
        self, image: Image.Image, name: str, images: int | None = None, orientation: int | None = None
    ) -> None:
        self.name = name
        self._image = image
        mode = image.mode
        if mode not in (*GREY, *DEEP_GREY, *COLOUR):
            raise ImageFileError(f'{name}: expected grey or RGB with 8 or 16 bits, got mode {mode}. Convert it first')
        if images is None:
            # the further images of a camera's MPO are previews
            images = 1 if image.format == 'MPO' else getattr(image, 'n_frames', 1)
        if orientation is None:
            orientation = 1 if image.format == 'JXL' else orientation_of(image.getexif().get(EXIF_ORIENTATION))
        height, width = oriented(image.height, image.width, orientation)
        clear = mode in CLEAR or ('transparency' in image.info and mode not in DEEP_GREY)
        deep = mode in DEEP_GREY
        self.header = Header(
            'JPEG' if image.format == 'MPO' else image.format or '', height, width, deep or mode in GREY, clear,
            np.dtype(np.uint16 if deep else np.uint8), images, orientation,
        )  # fmt: skip

    def _values(self) -> Array:
        image = self._image
        orientation = self.header.orientation
        image.load()
        if image.format == 'TIFF':
            # Pillow turns one itself when it loads it, and takes the mark away
            orientation = orientation_of(image.getexif().get(EXIF_ORIENTATION))
        if self.header.dtype == np.uint16:
            return upright(np.asarray(image).astype(np.uint16), orientation)
        if image.mode == 'CMYK':
            image = _srgb(image)
        wanted = ('L' if self.header.grey else 'RGB') + ('A' if self.header.alpha else '')
        return upright(np.asarray(image if image.mode == wanted else image.convert(wanted)), orientation)

    def notes(self) -> Notes:
        """Read what Pillow finds; a profile of inks says nothing about the colours that they became."""
        notes = pillow_notes(self._image)
        return notes._replace(icc=None) if self._image.mode == 'CMYK' else notes


def _srgb(image: Image.Image) -> Image.Image:
    """Convert CMYK to sRGB, by its profile where that is of the right kind."""
    icc = image.info.get('icc_profile')
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile('sRGB'), outputMode='RGB')
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, TypeError):
            # an unreadable profile says nothing about the colours; the general conversion is what viewers show then
            pass
    return image.convert('RGB')


class PngFacts(NamedTuple):
    """Hold what the chunks of a PNG say.

    Attributes:
        depth: Bits of a sample.
        colour: Type of its pixels: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
        exif: Content of its eXIf, wherever in the file that stands.
        whole: Whether its last chunk is there.
    """

    depth: int
    colour: int
    exif: bytes
    whole: bool


def png_facts(stream: Stream) -> PngFacts:
    """Walk through the chunks of a PNG without decoding it."""
    stream.seek(len(PNG_MARK))
    depth = colour = 0
    exif, whole = b'', False
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack('>I4s', head)
        if kind == b'IHDR':
            depth, colour = struct.unpack('>8xBB', stream.read(10))
            length -= 10
        elif kind == b'eXIf':
            exif = stream.read(length)
            length = 0
        elif kind == b'IEND':
            whole = True
            break
        stream.seek(length + 4, io.SEEK_CUR)
    stream.seek(0)
    return PngFacts(depth, colour, exif, whole)


class PngReader(PillowReader):
    """Read a PNG; of 16 bits, of which Pillow would make 8, the pixels by OpenCV."""

    def __init__(self, image: Image.Image, name: str, stream: Stream) -> None:
        self._facts = facts = png_facts(stream)
        self._stream = stream
        clear = image.info.get('transparency')
        if facts.colour == PNG_GREY and facts.depth in (2, 4) and isinstance(clear, int):
            # Pillow scales the pixels to 8 bits, and not the grey that stands for nothing
            image.info['transparency'] = clear * 255 // (2**facts.depth - 1)
        super().__init__(image, name, orientation=_png_orientation(image, facts.exif))
        if facts.depth == 16:
            header = self.header
            self.header = Header(
                'PNG', header.height, header.width, facts.colour in (PNG_GREY, PNG_GREY_ALPHA),
                facts.colour in (PNG_GREY_ALPHA, PNG_ALPHA) or clear is not None, np.dtype(np.uint16), header.images,
                header.orientation,
            )  # fmt: skip

    def _values(self) -> Array:
        if self._facts.depth != 16:
            return super()._values()
        if not self._facts.whole:
            raise ImageFileError(f'{self.name}: expected an image, but its end is missing. Is the file whole?')
        self._stream.seek(0)
        values = by_opencv(self._stream.read(), self.header.orientation, self.name)
        colour = self._facts.colour
        clear = self._image.info.get('transparency')
        if colour == PNG_GREY_ALPHA:
            # some releases of OpenCV spread the grey over three channels
            return values[..., [0, -1]]
        if colour in (PNG_GREY, PNG_COLOUR):
            # OpenCV's releases do not agree on the colour that stands for nothing
            values = values[..., :3] if values.ndim == 3 else values
            if clear is not None:
                same = values == np.asarray(clear)
                same = same if values.ndim == 2 else same.all(axis=2)
                values = np.dstack([values, np.where(same, 0, 65535).astype(np.uint16)])
        return values


def _png_orientation(image: Image.Image, block: bytes) -> int:
    """Read how a PNG lies without decoding it, as Pillow would do to find EXIF behind the pixels."""
    if block:
        exif = Image.Exif()
        exif.load(block)
        return orientation_of(exif.get(EXIF_ORIENTATION))
    if 'Raw profile type exif' in image.info:
        return orientation_of(image.getexif().get(EXIF_ORIENTATION))
    return 1
