"""What stands in image files beside the pixels: colour profile, EXIF and resolution."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

from dinoir_plugin.imaging.decoding import SWAPS_SIDES

Resolution = tuple[float, float]

EXIF_ORIENTATION = 274
EXIF_RESOLUTION, EXIF_UNIT = (282, 283), 296
# description, make, model, resolution, unit, software, date, artist, copyright; the rest describes the old file
EXIF_KEPT = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)
EXIF_FOLDER, EXIF_GPS = 0x8769, 0x8825
EXIF_WIDTH, EXIF_HEIGHT, EXIF_INTEROPERABILITY = 0xA002, 0xA003, 0xA005
INCH, CENTIMETRE = 2, 3
CENTIMETRES = 2.54  # in an inch
# PNG and BMP count dots in a metre: 300 to an inch come back as 299.9994, 96 as 96.012
_ROUNDING = 0.0128


class Notes(NamedTuple):
    """Hold what a file says beside its pixels.

    Attributes:
        icc: Colour profile.
        exif: What is kept of EXIF, by tag; folders as dicts.
        resolution: Dots to an inch, across and down.
    """

    icc: bytes | None = None
    exif: Mapping[int, Any] = {}
    resolution: Resolution | None = None


def orientation_of(value: Any) -> int:
    """Take an EXIF orientation; upright where it is none."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(resolution: Resolution | None, orientation: int) -> Resolution | None:
    """Give the resolution of the upright image."""
    return resolution[::-1] if resolution is not None and orientation in SWAPS_SIDES else resolution


def profile_of(value: Any) -> bytes | None:
    """Take a colour profile; None where it is none."""
    return value if isinstance(value, bytes) and value else None


def kept_exif(exif: Image.Exif) -> dict[int, Any]:
    """Keep of EXIF what is true of a restored image, with the folders of the camera and of the place as dicts."""
    kept: dict[int, Any] = {tag: exif[tag] for tag in EXIF_KEPT if tag in exif}
    kept.update({folder: dict(exif.get_ifd(folder)) for folder in (EXIF_FOLDER, EXIF_GPS)})
    kept[EXIF_FOLDER].pop(EXIF_INTEROPERABILITY, None)  # a place in the old file
    return {tag: value for tag, value in kept.items() if value not in ({}, None)}


def dots_per_inch(across: Any, down: Any, unit: Any = INCH) -> Resolution | None:
    """Give a resolution in dots to an inch; None where the numbers or the unit (inch, centimetre) are none."""
    try:
        both = float(across), float(down)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    factor = {INCH: 1.0, CENTIMETRE: CENTIMETRES}.get(unit)
    if factor is None or not all(math.isfinite(value) and value > 0 for value in both):
        return None
    return _rounded(both[0] * factor), _rounded(both[1] * factor)


def _rounded(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < _ROUNDING else value


def exif_resolution(exif: Mapping[int, Any]) -> Resolution | None:
    """Read the resolution that EXIF or the tags of a TIFF say."""
    return dots_per_inch(exif.get(EXIF_RESOLUTION[0]), exif.get(EXIF_RESOLUTION[1]), exif.get(EXIF_UNIT, INCH))


def pillow_notes(image: Image.Image) -> Notes:
    """Read what Pillow finds beside the pixels of an image that is loaded."""
    exif = kept_exif(image.getexif())
    info = image.info
    if image.format in ('JPEG', 'MPO'):
        # not what Pillow calls dpi: where a file does not say it, that is an invented 72
        unit = {1: INCH, 2: CENTIMETRE}.get(info.get('jfif_unit', 0))
        across, down = info.get('jfif_density', (0, 0))
        own = dots_per_inch(across, down, unit)
    elif image.format == 'TIFF':
        own = None  # its tags are those of EXIF
    else:
        own = dots_per_inch(*info['dpi']) if 'dpi' in info else None
    return Notes(profile_of(info.get('icc_profile')), exif, own or exif_resolution(exif))


def exif_block(kept: Mapping[int, Any], height: int, width: int) -> bytes | None:
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
            sides = ((EXIF_WIDTH, width), (EXIF_HEIGHT, height))
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
