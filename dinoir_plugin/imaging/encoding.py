"""From an image to the bytes of a file: PNG, JPEG, TIFF or WebP, with its profile, EXIF and resolution."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dinoir_plugin.core.errors import nearest
from dinoir_plugin.imaging.decoding import PNG_MARK, ImageFileError
from dinoir_plugin.imaging.formats import FORMAT_OF, FORMATS, WRITTEN, split_name
from dinoir_plugin.imaging.image_file import DecodedImage, join_alpha
from dinoir_plugin.imaging.notes import (
    EXIF_KEPT,
    EXIF_RESOLUTION,
    EXIF_UNIT,
    INCH,
    Resolution,
    dots_per_inch,
)
from dinoir_plugin.imaging.pillow_reader import PNG_ALPHA, PNG_COLOUR, PNG_GREY, PNG_GREY_ALPHA

# endings, without their point, of what is written, to Pillow's name of the format
ENDINGS = {ending[1:]: name for name in WRITTEN for ending in FORMATS[name]}
# the endings that an image keeps; the others of its format become the first
KEPT_ENDINGS = ('jpg', 'jpeg', 'png', 'tif', 'tiff', 'webp')
DEFAULT_QUALITY = 95
EXIF_SOFTWARE = 305
LONGEST_SIDE = {'JPEG': 65500, 'WEBP': 16383}
LONGEST_JPEG_EXIF = 65533
METRE = 0.0254  # of which an inch has so much
_SUB = b'\x01'  # the filter of PNG that keeps differences to the pixel on the left
PIECE = 1 << 16


def ending_for(path: Path, wanted: str | None = None, content: str = '') -> str:
    """Choose the ending, without a point, of the restored ``path``: its own where that can be kept.

    Args:
        path: The image's file.
        wanted: One of ENDINGS, or None.
        content: Pillow's name of the file's format, which decides where the name does not.
    """
    if wanted is not None:
        return wanted
    own = split_name(path.name)[1].lower()
    if own[1:] in KEPT_ENDINGS:
        return own[1:]
    kind = FORMAT_OF.get(own, content)
    return FORMATS[kind if kind in WRITTEN else 'PNG'][0][1:]


def check_format(name: str) -> str:
    """Give ``name`` as a key of ENDINGS, or raise an ImageFileError that says which there are."""
    key = name.lower().removeprefix('.')
    if key not in ENDINGS:
        raise ImageFileError(f"images are not written as '{name}'; {nearest(key, KEPT_ENDINGS)}")
    return key


def check_writable(image: DecodedImage, ending: str) -> None:
    """Refuse an image that a format cannot hold; for before the work that makes it.

    Args:
        image: With 8 bits in any format; with 16 as PNG or TIFF; floats as TIFF; transparency in all but JPEG.
        ending: Of ENDINGS.

    Raises:
        ImageFileError: The format cannot hold it.
    """
    kind = ENDINGS[check_format(ending)]
    depth = image.pixels.dtype
    if kind == 'JPEG' and image.alpha is not None:
        raise ImageFileError('JPEG holds no transparency: use --format png, webp or tif')
    if depth == np.float32 and kind != 'TIFF':
        raise ImageFileError(f'{kind} holds no floats: use --format tif')
    if depth == np.uint16 and kind not in ('PNG', 'TIFF'):
        raise ImageFileError(f'{kind} holds 8 bits only, and this image has 16: use --format png or tif')
    height, width = image.pixels.shape[:2]
    longest = LONGEST_SIDE.get(kind)
    if longest is not None and max(height, width) > longest:
        raise ImageFileError(f'{kind} holds sides of up to {longest} pixels, and this image is {width}x{height}: '
                             'use --format png or tif')


def encode_image(image: DecodedImage, ending: str, quality: int = DEFAULT_QUALITY) -> bytes:
    """Make the bytes of a file.

    Args:
        image: See :func:`check_writable`, also for what is raised.
        ending: Of ENDINGS.
        quality: Of JPEG and WebP, 1 to 100; colours are kept at full size (4:4:4), and WebP of 100 is lossless.
    """
    check_writable(image, ending)
    kind = ENDINGS[check_format(ending)]
    grey = image.pixels.ndim == 2 and kind != 'WEBP'
    icc = image.icc if _fits(image.icc, grey) else None
    if kind == 'TIFF':
        return _tiff(image, icc)
    if image.pixels.dtype == np.uint16:
        return _deep_png(image, icc)
    exif = image.exif
    if kind == 'JPEG' and exif is not None and len(exif) > LONGEST_JPEG_EXIF:
        exif = None
    options_of: dict[str, dict[str, Any]] = {
        'PNG': {'dpi': image.resolution},
        'JPEG': {'quality': quality, 'subsampling': 0, 'dpi': image.resolution},
        'WEBP': {'quality': quality, 'lossless': quality == 100, 'exact': True},
    }
    options = options_of[kind]
    if kind == 'WEBP':
        exif = _with_resolution(exif, image.resolution)
    stream = io.BytesIO()
    beside = {'icc_profile': icc, 'exif': exif, **options}
    plain = Image.fromarray(join_alpha(image.pixels, image.alpha))
    plain.save(stream, kind, **{key: value for key, value in beside.items() if value is not None})
    return stream.getvalue()


def _fits(icc: bytes | None, grey: bool) -> bool:
    """Tell whether a profile is one for what is written: one for grey fits no colours, one for inks neither."""
    return icc is not None and (icc[16:20] not in (b'CMYK', b'Lab ') and (grey or icc[16:20] != b'GRAY'))


def _with_resolution(exif: bytes | None, resolution: Resolution | None) -> bytes | None:
    """Put the resolution into EXIF, for a format that has no other place for it."""
    if resolution is None:
        return exif
    block = Image.Exif()
    block.load(exif or b'')
    for tag, value in zip(EXIF_RESOLUTION, resolution):
        block[tag] = value
    block[EXIF_UNIT] = INCH
    return block.tobytes()


def _deep_png(image: DecodedImage, icc: bytes | None) -> bytes:
    """Write a PNG of 16 bits, which Pillow does not."""
    values = join_alpha(image.pixels, image.alpha)
    height, width = values.shape[:2]
    kinds = {1: PNG_GREY, 2: PNG_GREY_ALPHA, 3: PNG_COLOUR, 4: PNG_ALPHA}
    kind = kinds[1 if values.ndim == 2 else values.shape[2]]
    chunks = [_chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 16, kind, 0, 0, 0))]
    if icc:
        chunks.append(_chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(icc)))
    if image.resolution:
        across, down = (round(value / METRE) for value in image.resolution)
        chunks.append(_chunk(b'pHYs', struct.pack('>IIB', across, down, 1)))
    if image.exif:
        chunks.append(_chunk(b'eXIf', image.exif.removeprefix(b'Exif\0\0')))
    rows = values.reshape(height, width, -1).astype('>u2').view(np.uint8)
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_FILTERED)
    packed = b''.join([*(packer.compress(_filtered(row)) for row in rows), packer.flush()])
    chunks += [_chunk(b'IDAT', packed[place : place + PIECE]) for place in range(0, len(packed), PIECE)]
    return b''.join([PNG_MARK, *chunks, _chunk(b'IEND', b'')])


def _filtered(row: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """Filter a row of (W, bytes of a pixel)."""
    differences = row.copy()
    differences[1:] -= row[:-1]
    return _SUB + differences.tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def _tiff(image: DecodedImage, icc: bytes | None) -> bytes:
    """Write any depth by tifffile; of EXIF its texts (camera, artist, ...), as TIFF has its own tags for the rest."""
    import tifffile

    exif = Image.Exif()
    exif.load(image.exif or b'')
    # as bytes: tifffile refuses letters beyond ASCII in a str
    texts = {tag: exif[tag].encode('latin-1', 'replace') for tag in EXIF_KEPT if isinstance(exif.get(tag), str)}
    resolution, unit = _tiff_resolution(image.resolution, exif)
    stream = io.BytesIO()
    values = join_alpha(image.pixels, image.alpha)
    tifffile.imwrite(
        stream,
        values,
        photometric='rgb' if image.pixels.ndim == 3 else 'minisblack',
        planarconfig='contig' if values.ndim == 3 else None,
        extrasamples=None if image.alpha is None else ['unassalpha'],
        compression='zlib',
        iccprofile=icc,
        metadata=None,
        software=texts.pop(EXIF_SOFTWARE, False),
        resolution=resolution,
        resolutionunit=unit,
        extratags=[(tag, 's', 0, text, True) for tag, text in texts.items()],
    )
    return stream.getvalue()


def _tiff_resolution(resolution: Resolution | None, exif: Image.Exif) -> tuple[Resolution | None, int | None]:
    """Give resolution and unit, as EXIF says them where it says the same."""
    told: list[Any] = [exif.get(tag) for tag in EXIF_RESOLUTION]
    unit = exif.get(EXIF_UNIT, INCH)
    same = dots_per_inch(told[0], told[1], unit)
    if same is not None and resolution in (None, same):
        return (float(told[0]), float(told[1])), int(unit)
    return resolution, None if resolution is None else INCH
