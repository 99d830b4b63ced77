"""What every degradation has in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from dinoir_plugin.core.constraints import Constraint
from dinoir_plugin.imaging.decoding import FloatArray

# How a degraded image becomes one that could have been read from a file.
Quantise = Literal['round', 'truncate', 'none']
# A number, or two numbers [from, to] of which one is drawn for each image; annotated with Within.
Range = float | Sequence[float]


@dataclass(frozen=True)
class Within(Constraint):
    """Allow a Range with both ends inside ``[low, high]``; ``low`` itself may be forbidden."""

    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False

    def allows(self, value: Any) -> bool:
        """Tell whether it is a range, and inside."""
        return not self.problem(value, '')

    def words(self, kind: str) -> str:
        """Say what a Range is."""
        return 'a number or two numbers [from, to]'

    def problem(self, value: Any, expected: str) -> str:
        """Say what is wrong; an empty text where nothing is."""
        if isinstance(value, Sequence) and len(value) != 2:
            return f'expected {self.words("")}, got {value!r}'
        first, last = ends(value)
        if first > last:
            return f'expected [from, to] with from <= to, got {value!r}'
        if first < self.low or last > self.high or (self.above_low and first == self.low):
            bound = f'above {self.low:g}' if self.above_low else f'of at least {self.low:g}'
            if self.high < math.inf:
                bound += f' and of at most {self.high:g}'
            return f'expected values {bound}, got {value!r}'
        return ''


def ends(limits: Range) -> tuple[float, float]:
    """Give both ends of a range; equal where it is a single number."""
    first, last = limits if isinstance(limits, Sequence) else (limits, limits)
    return float(first), float(last)


@dataclass(frozen=True)
class Context:
    """Hold what a degradation may know beside the image itself.

    Attributes:
        depth: float32, shape (H, W) like the image; distance from the camera divided by the largest distance in the
            whole image, so in [0, 1]. None unless the degradation has ``wants_depth``.
    """

    depth: FloatArray | None = None


class Degradation(ABC):
    """Spoil a clean image in one way.

    A subclass takes its parameters by keyword, says in their annotations what they may be (they are checked before it
    is built), and is entered in `degradations.DEGRADATIONS`.

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


def quantised(image: FloatArray, how: str) -> FloatArray:
    """Give the image with the 256 levels that an 8-bit file can hold.

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
