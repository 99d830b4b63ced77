"""From an image to the bytes of a file: PNG, JPEG, TIFF or WebP, with its profile and EXIF."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dinoir_plugin.core.errors import nearest
from dinoir_plugin.imaging.image_file import EXIF_KEPT, DecodedImage, ImageFileError, join_alpha, to_pillow

FORMATS = {'png': 'PNG', 'jpg': 'JPEG', 'jpeg': 'JPEG', 'tif': 'TIFF', 'tiff': 'TIFF', 'webp': 'WEBP'}
DEFAULT_QUALITY = 95
EXIF_RESOLUTION, EXIF_UNIT, EXIF_SOFTWARE = (282, 283), 296, 305
AFTER_HEADER = 33  # of a PNG: its mark, and the header with length, name and checksum


def ending_for(path: Path, wanted: str | None) -> str:
    """Choose the ending, without a point, of the restored ``path``: its own where that can be kept.

    Args:
        path: The image's file.
        wanted: One of FORMATS, or None.
    """
    own = path.suffix[1:].lower()
    return wanted or (own if own in FORMATS else 'jpg' if own == 'jpe' else 'png')


def check_format(name: str) -> str:
    """Give ``name`` as a key of FORMATS, or raise an ImageFileError that says which there are."""
    key = name.lower().removeprefix('.')
    if key not in FORMATS:
        raise ImageFileError(f"images are not written as '{name}'; {nearest(key, FORMATS)}")
    return key


def encode_image(image: DecodedImage, ending: str, quality: int = DEFAULT_QUALITY) -> bytes:
    """Make the bytes of a file.

    Args:
        image: With 8 bits in any format; with 16 as PNG or TIFF; floats as TIFF; transparency in all but JPEG.
        ending: Of FORMATS.
        quality: Of JPEG and WebP, 1 to 100; colours are kept at full size (4:4:4), and WebP of 100 is lossless.

    Raises:
        ImageFileError: The format cannot hold it.
    """
    kind = FORMATS[check_format(ending)]
    depth = image.pixels.dtype
    if kind == 'JPEG' and image.alpha is not None:
        raise ImageFileError('JPEG holds no transparency: use --format png, webp or tif')
    if depth == np.float32 and kind != 'TIFF':
        raise ImageFileError(f'{kind} holds no floats: use --format tif')
    if depth == np.uint16 and kind not in ('PNG', 'TIFF'):
        raise ImageFileError(f'{kind} holds 8 bits only, and this image has 16: use --format png or tif')
    if kind == 'TIFF':
        return _tiff(image)
    if depth == np.uint16:
        return _deep_png(image)
    options = {
        'PNG': {},
        'JPEG': {'quality': quality, 'subsampling': 0},
        'WEBP': {'quality': quality, 'lossless': quality == 100},
    }[kind]
    stream = io.BytesIO()
    beside = {'icc_profile': image.icc, 'exif': image.exif}
    to_pillow(image).save(stream, kind, **options, **{key: value for key, value in beside.items() if value})
    return stream.getvalue()


def _deep_png(image: DecodedImage) -> bytes:
    """Write 16 bits by OpenCV; profile and EXIF are put behind the header, where the format wants them."""
    pixels = image.pixels
    icc = image.icc
    if pixels.ndim == 2 and image.alpha is not None:
        # OpenCV writes no grey with alpha; a profile for grey would not fit colours
        pixels, icc = np.repeat(pixels[..., None], 3, axis=2), None
    values = join_alpha(pixels[..., ::-1] if pixels.ndim == 3 else pixels, image.alpha)
    written, buffer = cv2.imencode('.png', values)
    if not written:
        raise ImageFileError('OpenCV could not write this image as PNG')
    data = buffer.tobytes()
    chunks = b''
    if icc:
        chunks += _chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(icc))
    if image.exif:
        chunks += _chunk(b'eXIf', image.exif.removeprefix(b'Exif\0\0'))
    return data[:AFTER_HEADER] + chunks + data[AFTER_HEADER:]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def _tiff(image: DecodedImage) -> bytes:
    """Write any depth by tifffile; of EXIF its texts (camera, artist, ...), as TIFF has its own tags for the rest."""
    import tifffile

    exif = Image.Exif()
    exif.load(image.exif or b'')
    # as bytes: tifffile refuses letters beyond ASCII in a str
    texts = {tag: exif[tag].encode('latin-1', 'replace') for tag in EXIF_KEPT if isinstance(exif.get(tag), str)}
    resolution = tuple(float(exif[tag]) for tag in EXIF_RESOLUTION if tag in exif)
    stream = io.BytesIO()
    values = join_alpha(image.pixels, image.alpha)
    tifffile.imwrite(
        stream,
        values,
        photometric='rgb' if image.pixels.ndim == 3 else 'minisblack',
        planarconfig='contig' if values.ndim == 3 else None,
        extrasamples=None if image.alpha is None else ['unassalpha'],
        compression='zlib',
        iccprofile=image.icc,
        metadata=None,
        software=texts.pop(EXIF_SOFTWARE, False),
        resolution=resolution if len(resolution) == 2 else None,
        resolutionunit=int(exif.get(EXIF_UNIT, 2)) if len(resolution) == 2 else None,
        extratags=[(tag, 's', 0, text, True) for tag, text in texts.items()],
    )
    return stream.getvalue()
