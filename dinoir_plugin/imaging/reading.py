"""The one door to image files: training, checks, preparation and restoring read them by :func:`open_image`."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from dinoir_plugin.imaging.decoding import BMP_MARK, PNG_MARK, Array, ImageFileError
from dinoir_plugin.imaging.formats import FORMATS, PLUGINS, READABLE, register_plugins
from dinoir_plugin.imaging.pillow_reader import PillowReader, PngReader
from dinoir_plugin.imaging.plain_readers import BmpReader, PnmReader, bmp_profile, is_plain_bmp, is_pnm
from dinoir_plugin.imaging.reader import Header, ImageReader, Stream
from dinoir_plugin.imaging.tiff_reader import open_tiff

TIFF_MARKS = (b'II*\x00', b'MM\x00*', b'II+\x00', b'MM\x00+')
# what Pillow and tifffile raise on broken files
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError, struct.error,
           zlib.error, tifffile.TiffFileError)  # fmt: skip
_START = 64
# brands of HEIC and the like; AVIF has others
_PLUGIN_MARKS = {
    'HEIF': re.compile(rb'....ftyp(?:he[iv][cmsx]|mif1|msf1)', re.DOTALL),
    'JXL': re.compile(rb'\xff\x0a|\x00\x00\x00\x0cJXL '),
}
Check = Callable[[Header, str], None]


@contextmanager
def open_image(file: str | Path | bytes, name: str = '', number: int = 0) -> Iterator[ImageReader]:
    """Open an image file, read its header, and close it again.

    Args:
        file: Its path, or its bytes.
        name: What to call it in errors; its path where it is left out.
        number: Which of its images, from 0.

    Raises:
        ImageFileError: It is no image, or one that is not read; what its header does not tell is found by ``values``.
    """
    name = name or str(file)
    try:
        with _stream(file, name) as stream, warnings.catch_warnings():
            # large images are wanted
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            yield _reader(stream, name, number)
    except ImageFileError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageFileError(f'{name}: expected an image ({_known()}), but it is none') from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f'{name}: {error}') from error
    except _BROKEN as error:
        raise ImageFileError(f'{name}: expected an image, but it cannot be read ({error}). Is the file whole?'
                             ) from error


def _stream(file: str | Path | bytes, name: str) -> Stream:
    if isinstance(file, bytes):
        return io.BytesIO(file)
    path = Path(file)
    if not path.is_file():
        if path.is_symlink() and not path.exists():
            raise ImageFileError(f'{name}: the link leads nowhere')
        problem = 'expected an image, but this is a folder' if path.is_dir() else 'no such file'
        raise ImageFileError(f'{name}: {problem}')
    return path.open('rb')


def _reader(stream: Stream, name: str, number: int) -> ImageReader:
    start = stream.read(_START)
    if not start:
        raise ImageFileError(f'{name}: expected an image, but the file is empty')
    stream.seek(0)
    if start.startswith(TIFF_MARKS):
        return open_tiff(stream, name, number)
    if is_pnm(start):
        return PnmReader(stream, name, number)
    if is_plain_bmp(start) and start.startswith(BMP_MARK):
        return BmpReader(stream, name)
    _register(start, name)
    image = Image.open(stream, formats=[*READABLE, 'DIB'] if start.startswith(BMP_MARK) else list(READABLE))
    if number:
        image.seek(number)
    if start.startswith(PNG_MARK):
        return PngReader(image, name, stream)
    if start.startswith(BMP_MARK):
        profile = bmp_profile(stream)
        if profile:
            image.info['icc_profile'] = profile
    return PillowReader(image, name)


def _register(start: bytes, name: str) -> None:
    """Let Pillow read a file of one of the formats that it takes a package for."""
    for kind, mark in _PLUGIN_MARKS.items():
        if mark.match(start):
            if kind not in READABLE:
                raise ImageFileError(f'{name}: {kind} is read by {PLUGINS[kind]}, which is not installed: '
                                     "pip install 'dinoir_plugin[formats]'")
            register_plugins()


def _known() -> str:
    return ', '.join(FORMATS)


def check_single(header: Header, name: str) -> None:
    """Refuse a file of several images."""
    if header.images > 1:
        raise ImageFileError(f'{name}: holds {header.images} images (an animation or pages), and one at a time is '
                             'taken. Save them one by one, or restore with --pages all')


def check_trainable(header: Header, name: str) -> None:
    """Refuse what training and its data sets do not take: several images, transparency, other than 8 or 16 bits."""
    check_single(header, name)
    if header.alpha:
        raise ImageFileError(f'{name}: expected grey or colour, got {header.channels} channels (transparency). '
                             'Save it without an alpha channel.')
    if header.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(f'{name}: expected 8 or 16 bits a channel, got {header.dtype}. Convert it to 8-bit PNG.')


def image_size(file: str | Path | bytes, name: str = '', check: Check = check_trainable) -> tuple[int, int]:
    """Read height and width of the upright image from its header, and have the header checked."""
    with open_image(file, name) as reader:
        check(reader.header, reader.name)
        return reader.header.height, reader.header.width


def decode_image(data: bytes, name: str) -> Array:
    """Decode an image for training, without converting its pixels, so that a crop can come before the costly steps.

    Args:
        data: The file's bytes.
        name: What to call the file in errors.

    Returns:
        uint8 or uint16, upright, shape (H, W) for grey or (H, W, 3) for colour, in OpenCV's order BGR.

    Raises:
        ImageFileError: The bytes are no image or not all of one, or one that :func:`check_trainable` refuses.
    """
    with open_image(data, name) as reader:
        check_trainable(reader.header, name)
        values = reader.values()
        return values if values.ndim == 2 else values[..., ::-1]
