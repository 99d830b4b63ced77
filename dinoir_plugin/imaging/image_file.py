"""What an image file holds: pixels, transparency, and what cameras and editors wrote beside them."""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from dinoir_plugin.imaging.decoding import BROKEN, EXIF_ORIENTATION, PNG_MARK, Array, upright

READ = ('JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP', 'GIF', 'PPM')
ENDINGS = ('.jpg', '.jpeg', '.jpe', '.png', '.tif', '.tiff', '.webp', '.bmp', '.gif', '.ppm', '.pgm', '.pnm')
TIFF_MARKS = (b'II*\x00', b'MM\x00*', b'II+\x00', b'MM\x00+')
PNG_DEPTH = 24  # where the header of a PNG says how many bits a sample has
# description, make, model, resolution, unit, software, date, artist, copyright; the rest describes the old file
EXIF_KEPT = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)
ICC, PREMULTIPLIED = 34675, 1  # of TIFF
EXIF_FOLDER, EXIF_GPS = 0x8769, 0x8825
EXIF_WIDTH, EXIF_HEIGHT, EXIF_INTEROPERABILITY = 0xA002, 0xA003, 0xA005
CLEAR = ('LA', 'La', 'PA', 'RGBA', 'RGBa')


class ImageFileError(ValueError):
    """An image that cannot be read, restored or written; the message names it and says what to do."""


@dataclass(frozen=True)
class DecodedImage:
    """Hold an image, upright.

    Attributes:
        pixels: uint8, uint16, or float32 in [0, 1]; (H, W) for grey or (H, W, 3), RGB.
        alpha: Transparency, (H, W) in the type of ``pixels``; None: none.
        icc: Colour profile.
        exif: EXIF block, its orientation upright and its thumbnail left out.
        format: Pillow's name of the file's format; empty where it came from no file.
    """

    pixels: Array
    alpha: Array | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    format: str = ''

    def with_pixels(self, pixels: Array) -> DecodedImage:
        """Give the same image with other pixels."""
        return replace(self, pixels=pixels)


def read_image(path: str | Path) -> DecodedImage:
    """Read a still image: JPEG, PNG, TIFF, WebP, BMP, GIF or PPM, with 8 or 16 bits, or a TIFF with floats in [0, 1].

    Turned upright as its EXIF orientation says. CMYK becomes sRGB, by its profile where it has one.

    Raises:
        ImageFileError: It is no such image, or not whole.
    """
    path = Path(path)
    if not path.is_file():
        problem = 'expected an image, but this is a folder' if path.is_dir() else 'no such file'
        raise ImageFileError(f'{path}: {problem}')
    try:
        with path.open('rb') as file:
            start = file.read(PNG_DEPTH + 1)
        if not start:
            raise ImageFileError(f'{path}: the file is empty')
        if start.startswith(TIFF_MARKS):
            decoded = _read_tiff(path)
            if decoded is not None:
                return decoded
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path, formats=READ) as image:
                deep = start.startswith(PNG_MARK) and start[PNG_DEPTH] == 16
                if deep or (image.format == 'PPM' and _is_deep_ppm(path)):
                    return _from_opencv(path, image)
                return from_pillow(image, str(path))
    except Image.UnidentifiedImageError as error:
        raise ImageFileError(f'{path}: expected an image (JPEG, PNG, TIFF, WebP, BMP, GIF or PPM), but it is none'
                             ) from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f'{path}: {error}') from error
    except ImageFileError:
        raise
    except (*BROKEN, cv2.error) as error:
        raise ImageFileError(f'{path}: cannot be read ({error}). Is the file whole?') from error


def from_pillow(image: Image.Image, name: str = 'the image') -> DecodedImage:
    """Read an image that Pillow has opened, and turn it upright.

    Raises:
        ImageFileError: It moves, has several pages, or a mode that cannot be restored.
    """
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':
        raise ImageFileError(f'{name}: holds {frames} images (an animation or pages). Restore takes one at a time: '
                             'save them one by one')
    icc = _profile(image.info.get('icc_profile'))
    source = image.format or ''
    exif = _kept(image.getexif())
    image.load()
    # asked now, because Pillow turns a TIFF itself when it loads it, and takes the tag away
    orientation = _orientation(image.getexif().get(EXIF_ORIENTATION))
    if image.mode in ('CMYK', 'YCCK', 'YCbCr'):
        image, icc = _to_rgb(image, icc), None
    clear = image.mode in CLEAR or 'transparency' in image.info
    if image.mode in ('I;16', 'I;16L', 'I;16B'):
        values = np.asarray(image).astype(np.uint16)
    elif image.mode in ('1', 'L', 'LA', 'La'):
        values = np.asarray(image.convert('LA' if clear else 'L'))
    elif image.mode in ('P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX'):
        values = np.asarray(image.convert('RGBA' if clear else 'RGB'))
    else:
        raise ImageFileError(f'{name}: expected grey or RGB with 8 or 16 bits, got mode {image.mode}. Convert it first')
    pixels, alpha = split_alpha(upright(values, orientation))
    return DecodedImage(pixels, alpha, icc, _exif_block(exif, pixels), source)


def to_pillow(decoded: DecodedImage) -> Image.Image:
    """Make a Pillow image of it, with profile and EXIF in its ``info``; 8 bits, or grey with 16."""
    image = Image.fromarray(join_alpha(decoded.pixels, decoded.alpha))
    for key, value in (('icc_profile', decoded.icc), ('exif', decoded.exif)):
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
    if not np.isfinite(values).all():
        share = np.mean(~np.isfinite(values))
        raise ImageFileError(f'{name}: {share:.0%} of its values are no numbers (NaN, infinite)')
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageFileError(f'{name}: expected float values from 0 to 1, got {low:g} to {high:g}. Scale them first')
    return values.astype(np.float32)


def _read_tiff(path: Path) -> DecodedImage | None:
    """Read a TIFF with 16 bits or floats; None for one with 8, which Pillow reads."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        if page.dtype is None or page.dtype == np.uint8 or page.dtype == np.bool_:
            return None
        if len(file.pages) > 1:
            raise ImageFileError(f'{path}: holds {len(file.pages)} pages. Restore takes one at a time: '
                                 'save them one by one')
        kind = getattr(page.photometric, 'name', page.photometric)
        known = page.dtype in (np.uint16, np.float32, np.float64) and kind in ('MINISBLACK', 'RGB')
        if not known or page.samplesperpixel > 4 or PREMULTIPLIED in page.extrasamples:
            got = f'{kind} with {page.samplesperpixel} channels of {page.dtype}'
            raise ImageFileError(f'{path}: expected grey or RGB with 8 or 16 bits or floats, transparency not '
                                 f'multiplied in, got {got}. Convert it first')
        wanted = (EXIF_ORIENTATION, ICC, *EXIF_KEPT)
        tags = {code: page.tags[code].value for code in wanted if code in page.tags}
        data = bytearray(path.read_bytes())
        if EXIF_ORIENTATION in tags and page.tags[EXIF_ORIENTATION].count == 1:
            # OpenCV's releases do not agree on who turns a TIFF
            struct.pack_into(f'{file.byteorder}H', data, page.tags[EXIF_ORIENTATION].valueoffset, 1)
        planar = page.samplesperpixel > 1 and page.planarconfig != 1
        # OpenCV reads all kinds of compression, but neither grey with alpha nor channels apart
        values = page.asarray() if planar or page.samplesperpixel == 2 else _decoded(data, path)
        if planar:
            values = np.moveaxis(values, 0, -1)
    if values.dtype != np.uint16:
        values = check_values(values, str(path))
    pixels, alpha = split_alpha(upright(values, _orientation(tags.pop(EXIF_ORIENTATION, 1))))
    icc = _profile(tags.pop(ICC, None))
    # tifffile gives a fraction as two numbers
    kept = {code: value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else value
            for code, value in tags.items()}  # fmt: skip
    return DecodedImage(pixels, alpha, icc, _exif_block(kept, pixels), 'TIFF')


def _from_opencv(path: Path, header: Image.Image) -> DecodedImage:
    """Read the 16 bits of which Pillow would make 8, with what Pillow finds beside the pixels."""
    exif = header.getexif()
    turned = upright(_decoded(path.read_bytes(), path), _orientation(exif.get(EXIF_ORIENTATION)))
    pixels, alpha = split_alpha(turned)
    clear = header.info.get('transparency')
    if pixels.ndim == 2 and isinstance(clear, int):  # one grey that stands for nothing, which OpenCV passes over
        alpha = np.where(pixels == clear, 0, 65535).astype(np.uint16)
    block = _exif_block(_kept(exif), pixels)
    return DecodedImage(pixels, alpha, _profile(header.info.get('icc_profile')), block, header.format or '')


def _is_deep_ppm(path: Path) -> bool:
    """Tell whether a PPM or PGM has 16 bits.

    Raises:
        ImageFileError: Its white is neither 255 nor 65535.
    """
    with path.open('rb') as file:
        found = re.match(rb'P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)', file.read(4096))
    if found is None or int(found[1]) == 255:
        return False
    if int(found[1]) != 65535:
        raise ImageFileError(f'{path}: expected 255 or 65535 for white, got {int(found[1])}. Convert it to PNG')
    return True


def _orientation(value: Any) -> int:
    """Take an EXIF orientation; upright where it is none."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _profile(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) and value else None


def _decoded(data: bytes | bytearray, path: Path) -> Array:
    """Decode to (H, W[, C]) in RGB as OpenCV reads it, not turned."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ImageFileError(f'{path}: cannot be decoded. Is the file whole?')
    if values.ndim == 2:
        return values
    order = [2, 1, 0, 3][: values.shape[2]] if values.shape[2] > 2 else list(range(values.shape[2]))
    return values[..., order]


def _to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK or YCbCr to sRGB, by its profile where that is of the right kind."""
    if icc and image.mode == 'CMYK':
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile('sRGB'), outputMode='RGB')
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            # an unreadable profile says nothing about the colours; the general conversion is what viewers show then
            pass
    return image.convert('RGB')


def _kept(exif: Image.Exif) -> dict[int, Any]:
    """Keep of EXIF what is true of a restored image, with the folders of the camera and of the place as dicts."""
    kept: dict[int, Any] = {tag: exif[tag] for tag in EXIF_KEPT if tag in exif}
    kept.update({folder: dict(exif.get_ifd(folder)) for folder in (EXIF_FOLDER, EXIF_GPS)})
    kept[EXIF_FOLDER].pop(EXIF_INTEROPERABILITY, None)  # a place in the old file
    return {tag: value for tag, value in kept.items() if value not in ({}, None)}


def _exif_block(kept: dict[int, Any], pixels: Array) -> bytes | None:
    """Make the EXIF block for an upright image of this size, without a thumbnail."""
    if not kept:
        return None
    exif = Image.Exif()
    for tag, value in kept.items():
        if not isinstance(value, dict):
            exif[tag] = _raw(value)
            continue
        entries = exif.get_ifd(tag)
        entries.update({name: _raw(entry) for name, entry in value.items()})
        if tag == EXIF_FOLDER:
            sides = ((EXIF_WIDTH, pixels.shape[1]), (EXIF_HEIGHT, pixels.shape[0]))
            entries.update({name: side for name, side in sides if name in entries})
        exif[tag] = entries
    exif[EXIF_ORIENTATION] = 1
    try:
        return exif.tobytes()
    except (AttributeError, TypeError, ValueError, struct.error):
        # values of kinds that their tags do not have: the image is worth more than its notes
        return None


def _raw(value: Any) -> Any:
    """Give text that is not ASCII as the bytes that Pillow read it from; it would write question marks."""
    return value.encode('latin-1', 'replace') if isinstance(value, str) and not value.isascii() else value
