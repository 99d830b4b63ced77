"""Lists of images as BasicSR and Real-ESRGAN write them (``meta_info_file``)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.formats import ENDINGS
from dinoir_plugin.imaging.paths import written_path

# a name, height, width and channels, and what else stands behind
SHAPE = re.compile(r'(?P<name>.+?)\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*(?P<c>\d+))?\)(?:\s.*)?')
_SHAPE_ALONE = re.compile(r'\s+\(\d+,\s*\d+(?:,\s*\d+)?\)')
_ENDING = '|'.join(re.escape(ending) for ending in ENDINGS)
# two names with their endings; one name, and what else stands behind
_PAIR = re.compile(rf'(.+?(?:{_ENDING}))(?:\s*[,;\t]\s*|\s+)(.+(?:{_ENDING}))', re.IGNORECASE)
_NAMED = re.compile(rf'(.+?(?:{_ENDING}))(?:[\s,;].*)', re.IGNORECASE)
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Listed(NamedTuple):
    """Hold what one line of a list may mean: names, and for a pair that of the degraded image.

    Attributes:
        line: The line.
        readings: From the likeliest on; the first of which there is an image counts.
    """

    line: str
    readings: tuple[tuple[str, str | None], ...]


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a text that are not empty: of any system, with or without a byte-order mark.

    Bytes that are no UTF-8 stay what they are, as in names of files.
    """
    data = Path(path).read_bytes()
    text = data.decode('utf-16') if data.startswith(_WIDE) else data.decode('utf-8-sig', 'surrogateescape')
    return [line.strip() for line in re.split(r'[\r\n]+', text.lstrip('\ufeff')) if line.strip()]


def read_meta_info(value: object, option: str) -> list[Listed]:
    """Read a list of images, one to a line.

    A line is a name, which may have spaces and folders in it, or a pair ``clean, degraded``; ``(h,w,c)`` and what else
    stands behind a name is passed over.

    Raises:
        OptionsError: There is no such file, or it lists nothing.
    """
    path = written_path(value) if isinstance(value, str) and value else None
    if path is None or not path.is_file():
        raise OptionsError(option, f'no such file: {value}')
    try:
        lines = read_lines(path)
    except UnicodeDecodeError as error:
        raise OptionsError(option, f'{value} cannot be read as text ({error})', 'Save it as UTF-8') from error
    if not lines:
        raise OptionsError(option, f'{value} lists no image')
    return [Listed(line, tuple(_readings(line))) for line in lines]


def _readings(line: str) -> Iterator[tuple[str, str | None]]:
    shaped = SHAPE.fullmatch(line)
    if shaped:
        yield shaped['name'], None
    text = _SHAPE_ALONE.sub('', line)
    yield text, None
    pair = _PAIR.fullmatch(text)
    if pair:
        yield pair[1], pair[2]
    named = _NAMED.fullmatch(text)
    if named:
        yield named[1], None
    first = re.split(r'[\s,;]', text, maxsplit=1)[0]
    if first and first != text:
        yield first, None
