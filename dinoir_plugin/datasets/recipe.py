"""How the images of a root are kept."""

from __future__ import annotations

from typing import NamedTuple

ENCODINGS = ('bmp', 'png')
# Level 1 as BasicSR's own LMDBs; BMP is not compressed.
LEVELS = {'png': 1, 'bmp': 0}


class Recipe(NamedTuple):
    """Say how images are kept.

    Attributes:
        encoding: ``bmp`` (decodes many times faster) or ``png`` (smaller, and for 16 bits).
        sub_images: Side and step of square sub-images in pixels, None for whole images.
    """

    encoding: str = 'bmp'
    sub_images: tuple[int, int] | None = None
