"""How the images of a root are kept, and which are."""

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


class Choice(NamedTuple):
    """Say how many images of a training split are taken, and by which seed."""

    images: int
    seed: int = 0

    @property
    def suffix(self) -> str:
        """Give what a root's folder is called in addition, so that a choice is known by its name."""
        return f'_{self.images}_seed{self.seed}'
