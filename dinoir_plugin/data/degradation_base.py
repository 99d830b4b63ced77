"""What every degradation has in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from basicsr.utils.registry import Registry

from dinoir_plugin.core.constraints import Constraint
from dinoir_plugin.core.wording import bound_text
from dinoir_plugin.imaging.decoding import FloatArray

# How a degraded image becomes one that could have been read from a file.
Quantise = Literal['round', 'truncate', 'none']
# A number, two numbers [from, to] between which one is drawn for each image, or {choices: [...]} of which one is drawn;
# annotated with Within.
Range = float | Sequence[float] | Mapping[str, Sequence[float]]
CHOICES = 'choices'


@dataclass(frozen=True)
class Within(Constraint):
    """Allow a Range inside ``[low, high]``; ``low`` itself may be forbidden."""

    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False

    def allows(self, value: Any) -> bool:
        """Tell whether it is a range, and inside."""
        return not self.problem(value, '')

    def words(self, kind: str) -> str:
        """Say what a Range is."""
        return 'a number, two numbers [from, to] or {choices: [...]}'

    def problem(self, value: Any, expected: str) -> str:
        """Say what is wrong; an empty text where nothing is."""
        if not _is_range(value):
            return f'expected {self.words("")}, got {value!r}'
        numbers = _numbers(value)
        if isinstance(value, Sequence) and numbers[0] > numbers[1]:
            return f'expected [from, to] with from <= to, got {value!r}'
        low, high = min(numbers), max(numbers)
        if low < self.low or high > self.high or (self.above_low and low == self.low):
            bound = f'above {bound_text(self.low)}' if self.above_low else f'of at least {bound_text(self.low)}'
            if self.high < math.inf:
                bound += f' and of at most {bound_text(self.high)}'
            return f'expected values {bound}, got {value!r}'
        return ''


def _is_range(value: object) -> bool:
    if isinstance(value, Mapping):
        return set(value) == {CHOICES} and len(value[CHOICES]) > 0
    return not isinstance(value, Sequence) or len(value) == 2


def _numbers(limits: Range) -> tuple[float, ...]:
    if isinstance(limits, Mapping):
        return tuple(map(float, limits[CHOICES]))
    return tuple(map(float, limits)) if isinstance(limits, Sequence) else (float(limits), float(limits))


class Draw:
    """Draw one number for each image: uniformly between two ends, or one of several, each as often.

    Args:
        limits: What the options say.
    """

    def __init__(self, limits: Range) -> None:
        self.numbers = _numbers(limits)
        self.of_choices = isinstance(limits, Mapping)

    def __call__(self, rng: np.random.Generator) -> float:
        """Draw; a single number takes a draw too, so that what is drawn afterwards does not depend on it."""
        if self.of_choices:
            return self.numbers[int(rng.integers(len(self.numbers)))]
        return float(rng.uniform(self.numbers[0], self.numbers[1]))


# degradations by the names that options files use
DEGRADATION_REGISTRY = Registry('degradation')


@dataclass(frozen=True)
class Context:
    """Hold what a degradation may know beside the image itself.

    Attributes:
        depth: float32, shape (H, W) like the image; distance from the camera divided by the largest distance in the
            whole image, so in [0, 1]. None unless the degradation has ``wants_depth``.
        margin: Pixels on every side of the image that are cut off after the last degradation.
        whole: Whether what is left then is a whole image, rather than a patch of one.
        number: The image's place among those of its task, by name, from 0.
        count: How many images the task has.
    """

    depth: FloatArray | None = None
    margin: int = 0
    whole: bool = True
    number: int = 0
    count: int = 1


class Degradation(ABC):
    """Spoil a clean image in one way.

    A subclass takes its parameters by keyword, says in their annotations what they may be (the plugin's own are checked
    against them before they are built), and is registered: ``@DEGRADATION_REGISTRY.register()``, by the class's name.

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

    def refusal(self, height: int, width: int) -> str:
        """Say why whole images of that size cannot be degraded, for the checks before a run; empty where they can."""
        return ''


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
