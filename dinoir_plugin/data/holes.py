"""Images with holes, for inpainting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import cv2
import numpy as np

from dinoir_plugin.core.constraints import Words
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.data.degradation_base import Context, Degradation, Draw, Quantise, Range, Within, quantised
from dinoir_plugin.data.patches import BORDERS, Crop, cut
from dinoir_plugin.data.sources import Source, open_source
from dinoir_plugin.imaging.decoding import FloatArray, to_rgb_float
from dinoir_plugin.imaging.reading import decode_image

# Part of an image that holes cover: from a tenth to a half, so three tenths on average.
SHARE = (0.1, 0.5)
# Radius of a stroke in shorter sides of the image, and how many steps of half a radius it is long.
RADIUS = (1 / 40, 1 / 12)
STEPS = (4, 32)


class Holes(Degradation):
    """Cut holes of irregular shape, for inpainting: ``m image + (1 - m) fill``, with m = 0 in a hole.

    Args:
        share: Part of the image that holes cover, in [0, 0.9], default [0.1, 0.5]; a number, ``[from, to]`` or
            ``{choices: [...]}``, one draw an image. Holes are random strokes of a round brush, drawn until they cover
            that much, to one part in a hundred and never more.
        masks: Folder of masks, or an LMDB, in place of drawn holes: black is a hole, white is kept, and each has the
            size of the task's images. One is drawn an image; a patch takes a random piece of one.
        fill: Grey level in the holes, in [0, 1]; 1 is white. A number or a range, as ``share``.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        share: Annotated[Range, Within(0, 0.9)] | None = None,
        masks: Annotated[str, Words('a folder')] | None = None,
        fill: Annotated[Range, Within(0, 1)] = 1.0,
        quantise: Quantise = 'round',
    ) -> None:
        if masks is not None and share is not None:
            raise OptionsError('share', 'this option has no effect with masks', 'Remove it')
        self.share = Draw(SHARE if share is None else share)
        self.masks: Source | None = None if masks is None else open_source(masks, 'masks')
        self.fill = Draw(fill)
        self.quantise = quantise

    def refusal(self, height: int, width: int) -> str:
        """Name a mask of another size."""
        expected = (height, width)
        for mask, size in self._sizes.items():
            if size != expected:
                return f'the mask {mask} is {size_text(size)}, expected the size of the images, {size_text(expected)}'
        return ''

    @cached_property
    def _sizes(self) -> dict[str, tuple[int, int]]:
        if self.masks is None:
            return {}
        return {self.masks.path(number): self.masks.size(number) for number in range(len(self.masks))}

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Cut holes; see `Degradation.apply`. Range as of the image.

        Raises:
            ValueError: A mask cannot be read, or is of another size.
        """
        fill = np.float32(self.fill(rng))
        if self.masks is None:
            holes = drawn_holes(image.shape[0], image.shape[1], self.share(rng), rng)
            kept = 1 - holes.astype(np.float32)
        else:
            kept = _piece_of_a_mask(self.masks, image.shape, rng, context)
        kept = kept[..., None]
        return quantised(image * kept + fill * (1 - kept), self.quantise)


def _piece_of_a_mask(masks: Source, shape: Sequence[int], rng: np.random.Generator, context: Context) -> FloatArray:
    """Give one of the masks for an image of that shape, or a piece of it for a patch: (H, W), in [0, 1]."""
    number = int(rng.integers(len(masks)))
    mask = to_rgb_float(decode_image(masks.read(number), masks.path(number))).mean(axis=2)
    margin = context.margin
    wanted = shape[0] - 2 * margin, shape[1] - 2 * margin
    spare = [have - want for have, want in zip(mask.shape, wanted)]
    if any(spare) if context.whole else min(spare) < 0:
        least = '' if context.whole else 'at least '
        raise ValueError(f'the mask {masks.path(number)} is {size_text(mask.shape)}, '
                         f'expected {least}{size_text(wanted)}')
    top, left = (int(rng.integers(pixels + 1)) for pixels in spare)
    piece = cut(mask, Crop(top, left, *wanted), 0)
    return np.asarray(cv2.copyMakeBorder(piece, margin, margin, margin, margin, BORDERS['mirror']), np.float32)


def drawn_holes(height: int, width: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw strokes of a round brush, of random width, length and bends, until they cover a part of an image.

    Args:
        height: Of the image.
        width: Of the image.
        share: How much of it, below 1.
        rng: The only source of randomness.

    Returns:
        uint8, shape (height, width), 1 in holes. They cover at most ``share``.
    """
    holes = np.zeros((height, width), np.uint8)
    wanted = share * holes.size
    # a brush that does not cover it all at once
    largest = math.sqrt(wanted / math.pi) / 2
    while True:
        radius = max(1.0, min(largest, min(height, width) * rng.uniform(*RADIUS)))
        turns = rng.normal(0, 0.5, rng.integers(*STEPS))
        headings = rng.uniform(0, 2 * math.pi) + np.cumsum(turns)
        across = rng.uniform(0, width) + radius / 2 * np.cumsum(np.cos(headings))
        down = rng.uniform(0, height) + radius / 2 * np.cumsum(np.sin(headings))
        for x, y in zip(across, down):
            grown = cv2.circle(holes.copy(), (int(x), int(y)), int(radius), 1, cv2.FILLED)
            if cv2.countNonZero(grown) > wanted:
                return holes
            holes = np.asarray(grown)
