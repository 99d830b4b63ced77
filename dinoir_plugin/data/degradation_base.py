"""What every degradation has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dinoir_plugin.imaging.decoding import FloatArray


@dataclass(frozen=True)
class Context:
    """What a degradation may know beside the image itself.

    Attributes:
        depth: float32, shape (H, W) like the image; distance from the camera divided by the largest distance in the
            whole image, so in [0, 1]. None unless the degradation has ``wants_depth``.
    """

    depth: FloatArray | None = None


class Degradation(ABC):
    """One way to spoil a clean image.

    A subclass takes its parameters by keyword, checks them with `option_checks` under their plain names, and is
    entered in `degradations.DEGRADATIONS`.

    Attributes:
        margin: Pixels beyond each border that the result depends on. Whoever calls `apply` hands in that many more
            (the image's own; beyond its real borders what ``border`` says) and cuts them off afterwards.
        border: One of `patches.BORDERS`; of use with a margin.
        wants_depth: Whether `apply` reads `Context.depth`.
    """

    margin: int = 0
    border: str = 'mirror'
    wants_depth: ClassVar[bool] = False

    @abstractmethod
    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Degrade an image.

        Args:
            image: float32, shape (H, W, 3), order RGB, range [0, 1]; not to be changed in place.
            rng: The only source of randomness.
            context: Depth, where asked for.

        Returns:
            A new array of the same shape, type and order. Its range is [0, 1] unless the class says otherwise.
        """


# How a degraded image becomes one that could have been read from a file.
QUANTISE = ('round', 'truncate', 'none')


def quantised(image: FloatArray, how: str) -> FloatArray:
    """The image with the 256 levels that an 8-bit file can hold.

    Args:
        image: float32, any shape and order, meant to be in [0, 1].
        how: ``round`` clips and takes the nearest level; ``truncate`` clips and takes the level below, which darkens
            by half a level; ``none`` returns the image as it is, neither clipped nor rounded.

    Returns:
        Shape and order as they were.
    """
    if how == 'none':
        return image
    levels = np.clip(image, 0, 1) * np.float32(255)
    # float32 can put a level that was exact a hundred-thousandth below itself
    levels = np.rint(levels) if how == 'round' else np.floor(levels + np.float32(2**-15))
    return levels / np.float32(255)
