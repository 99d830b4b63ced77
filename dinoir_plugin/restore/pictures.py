"""What a picture file holds: pixels, transparency, and what cameras and editors wrote beside them."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from dinoir_plugin.decoding import BROKEN, EXIF_ORIENTATION, PNG_MARK, Array, upright

READ = ('JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP', 'GIF', 'PPM')
ENDINGS = ('.jpg', '.jpeg', '.jpe', '.png', '.tif', '.tiff', '.webp', '.bmp', '.gif', '.ppm', '.pgm', '.pnm')
TIFF_MARKS = (b'II*\x00', b'MM\x00*', b'II+\x00', b'MM\x00+')
PNG_DEPTH = 24  # where the header of a PNG says how many bits a sample has
# description, make, model, resolution, unit, software, date, artist, copyright; the rest describes the old file
EXIF_KEPT = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)
ICC = 34675  # of TIFF
EXIF_FOLDER, EXIF_GPS = 0x8769, 0x8825
EXIF_WIDTH, EXIF_HEIGHT = 0xA002, 0xA003
COLOURLESS = ('1', 'L', 'LA', 'La', 'I;16', 'I;16L', 'I;16B')
CLEAR = ('LA', 'La', 'PA', 'RGBA', 'RGBa')


class PictureError(ValueError):
    """A picture that cannot be read, restored or written; the message names it and says what to do."""


@dataclass(frozen=True)
class Picture:
    """A picture, upright.

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

    def with_pixels(self, pixels: Array) -> Picture:
        """The same picture with other pixels."""
        return replace(self, pixels=pixels)


def read_picture(path: str | Path) -> Picture:
    """Read a still picture: JPEG, PNG, TIFF, WebP, BMP, GIF or PPM, with 8 or 16 bits, or a TIFF with floats in [0, 1].

    Turned upright as its EXIF orientation says. CMYK becomes sRGB, by its profile where it has one.

    Raises:
        PictureError: It is no such picture, or not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise PictureError(f'{path}: {"expected a picture, but this is a folder" if path.is_dir() else "no such file"}')
    try:
        with path.open('rb') as file:
            start = file.read(PNG_DEPTH + 1)
        if not start:
            raise PictureError(f'{path}: the file is empty')
        if start.startswith(TIFF_MARKS):
            deep = _read_tiff(path)
            if deep is not None:
                return deep
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path, formats=READ) as image:
                if image.format == 'PPM' or (start.startswith(PNG_MARK) and start[PNG_DEPTH] == 16):
                    return _from_opencv(path, image)
                return from_pillow(image, str(path))
    except Image.UnidentifiedImageError as error:
        raise PictureError(f'{path}: expected a picture (JPEG, PNG, TIFF, WebP, BMP, GIF or PPM), but it is none'
                           ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f'{path}: {error}') from error
    except PictureError:
        raise
    except (*BROKEN, cv2.error) as error:
        raise PictureError(f'{path}: cannot be read ({error}). Is the file whole?') from error


def from_pillow(image: Image.Image, name: str = 'the picture') -> Picture:
    """A picture of Pillow's, upright.

    Raises:
        PictureError: It moves, has several pages, or a mode that cannot be restored.
    """
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':
        raise PictureError(f'{name}: holds {frames} pictures (an animation or pages). Restore takes one at a time: '
                           'save them one by one')
    icc: bytes | None = image.info.get('icc_profile')
    source = image.format or ''
    # first, because Pillow turns a TIFF itself when it loads it, and takes the tag away
    image.load()
    exif = image.getexif()
    orientation = int(exif.get(EXIF_ORIENTATION, 1))
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
        raise PictureError(f'{name}: expected grey or RGB with 8 or 16 bits, got mode {image.mode}. Convert it first')
    pixels, alpha = split_alpha(upright(values, orientation))
    return Picture(pixels, alpha, icc, _cleaned(exif, pixels), source)


def to_pillow(picture: Picture) -> Image.Image:
    """The picture as one of Pillow's, with profile and EXIF in its ``info``; 8 bits, or grey with 16."""
    image = Image.fromarray(join_alpha(picture.pixels, picture.alpha))
    for key, value in (('icc_profile', picture.icc), ('exif', picture.exif)):
        if value:
            image.info[key] = value
    return image


def split_alpha(values: Array) -> tuple[Array, Array | None]:
    """Grey, grey with alpha, RGB or RGB with alpha, (H, W[, C]), into pixels and alpha."""
    if values.ndim == 2 or values.shape[2] == 3:
        return values, None
    if values.shape[2] == 1:
        return values[..., 0], None
    if values.shape[2] == 2:
        return values[..., 0], values[..., 1]
    return values[..., :3], values[..., 3]


def join_alpha(pixels: Array, alpha: Array | None) -> Array:
    """The reverse of :func:`split_alpha`, contiguous."""
    return np.ascontiguousarray(pixels if alpha is None else np.dstack([pixels, alpha]))


def check_values(values: Array, name: str) -> Array:
    """Float values as float32.

    Raises:
        PictureError: Some are no numbers, or outside of [0, 1].
    """
    if not np.isfinite(values).all():
        raise PictureError(f'{name}: {np.mean(~np.isfinite(values)):.0%} of its values are no numbers (NaN or infinite)')
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise PictureError(f'{name}: expected float values from 0 to 1, got {low:g} to {high:g}. Scale them first')
    return values.astype(np.float32)


def _read_tiff(path: Path) -> Picture | None:
    """A TIFF with 16 bits or floats; None for one with 8, which Pillow reads."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        if page.dtype == np.uint8 or page.dtype == np.bool_:
            return None
        if len(file.pages) > 1:
            raise PictureError(f'{path}: holds {len(file.pages)} pages. Restore takes one at a time: save them one by '
                               'one')
        kind = page.photometric.name
        if page.dtype not in (np.uint16, np.float16, np.float32, np.float64) or kind not in ('MINISBLACK', 'RGB'):
            raise PictureError(f'{path}: expected grey or RGB with 8 or 16 bits or floats, got {kind} with {page.dtype}. '
                               'Convert it first')
        tags = {code: page.tags[code].value for code in (EXIF_ORIENTATION, ICC) if code in page.tags}
        data = bytearray(path.read_bytes())
        if EXIF_ORIENTATION in tags:
            # OpenCV's releases do not agree on who turns a TIFF
            struct.pack_into(f'{file.byteorder}H', data, page.tags[EXIF_ORIENTATION].valueoffset, 1)
    values = _decoded(data, path)
    if values.dtype != np.uint16:
        values = check_values(values, str(path))
    pixels, alpha = split_alpha(upright(values, int(tags.get(EXIF_ORIENTATION, 1))))
    return Picture(pixels, alpha, tags.get(ICC), None, 'TIFF')


def _from_opencv(path: Path, header: Image.Image) -> Picture:
    """A picture with 16 bits, which Pillow would make 8 of, with what Pillow finds beside the pixels."""
    exif = header.getexif()
    pixels, alpha = split_alpha(upright(_decoded(path.read_bytes(), path), int(exif.get(EXIF_ORIENTATION, 1))))
    return Picture(pixels, alpha, header.info.get('icc_profile'), _cleaned(exif, pixels), header.format or '')


def _decoded(data: bytes | bytearray, path: Path) -> Array:
    """(H, W[, C]) in RGB as OpenCV reads it, not turned."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise PictureError(f'{path}: cannot be decoded. Is the file whole?')
    if values.ndim == 2:
        return values
    order = [2, 1, 0, 3][: values.shape[2]] if values.shape[2] > 2 else list(range(values.shape[2]))
    return values[..., order]


def _to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """CMYK or YCbCr as sRGB, by its profile where that is one of the right kind."""
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


def _cleaned(exif: Image.Exif, pixels: Array) -> bytes | None:
    """What is still true of an upright picture without a thumbnail."""
    kept = Image.Exif()
    for tag in EXIF_KEPT:
        if tag in exif:
            kept[tag] = exif[tag]
    for folder in (EXIF_FOLDER, EXIF_GPS):
        entries = dict(exif.get_ifd(folder))
        for tag, side in ((EXIF_WIDTH, pixels.shape[1]), (EXIF_HEIGHT, pixels.shape[0])):
            if folder == EXIF_FOLDER and tag in entries:
                entries[tag] = side
        if entries:
            kept.get_ifd(folder).update(entries)
            kept[folder] = kept.get_ifd(folder)
    if not len(kept):
        return None
    kept[EXIF_ORIENTATION] = 1
    return kept.tobytes()
