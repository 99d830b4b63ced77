"""The one table of image formats: how their files end, and which of them are written."""

from __future__ import annotations

import importlib.util
import unicodedata
from functools import cache
from pathlib import PurePath

from PIL import features

# Pillow's name of a format to the endings of its files; the first is the one that new files get.
FORMATS = {
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif', '.jif', '.jfi', '.mpo'),
    'PNG': ('.png', '.apng'),
    'TIFF': ('.tif', '.tiff'),
    'WEBP': ('.webp',),
    'BMP': ('.bmp', '.dib'),
    'GIF': ('.gif',),
    'PPM': ('.ppm', '.pgm', '.pbm', '.pnm'),
}
# formats that Pillow reads by another package, and that package's module
PLUGINS = {'HEIF': 'pillow_heif', 'JXL': 'pillow_jxl'}
_MORE = {'AVIF': ('.avif',), 'HEIF': ('.heic', '.heif', '.hif'), 'JXL': ('.jxl',)}
READABLE = {
    **FORMATS,
    **({'AVIF': _MORE['AVIF']} if features.check('avif') else {}),
    **{name: _MORE[name] for name, module in PLUGINS.items() if importlib.util.find_spec(module) is not None},
}
WRITTEN = ('PNG', 'JPEG', 'TIFF', 'WEBP')
FORMAT_OF = {ending: name for name, endings in READABLE.items() for ending in endings}
ENDINGS = tuple(FORMAT_OF)


def split_name(name: str, endings: tuple[str, ...] = ENDINGS) -> tuple[str, str]:
    """Split a file's name into what it is called and its ending; a dot that starts no known ending stays.

    Returns:
        For instance ``('0001_0.8_0.2', '.jpg')`` or ``('report.page1', '')``; the ending as it is written.
    """
    suffix = PurePath(name).suffix
    return (name[: -len(suffix)], suffix) if suffix.lower() in endings else (name, '')


def has_ending(name: str, endings: tuple[str, ...] = ENDINGS) -> bool:
    """Tell whether a file is called as images are; hidden files are not."""
    return not name.startswith('.') and split_name(name, endings)[1] != ''


def composed(text: str) -> str:
    """Give a name with its letters composed, so that it is the same from every system.

    macOS writes ``é`` as ``e`` and an accent, other systems as one letter.
    """
    return unicodedata.normalize('NFC', text)


@cache
def register_plugins() -> None:
    """Let Pillow read the formats of :data:`PLUGINS`, as far as they are installed."""
    if 'HEIF' in READABLE:
        import pillow_heif

        pillow_heif.register_heif_opener()
    if 'JXL' in READABLE:
        import pillow_jxl  # noqa: F401 - registers itself
