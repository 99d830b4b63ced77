"""Boxes, arrows, photographs and words of the methods' diagrams, all in one style."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from skimage import data

from dinoir_plugin.experiments.figure_style import DPI, WIDTH
from dinoir_plugin.imaging.decoding import Array

Point = tuple[float, float]

HEIGHT = 5.0  # inches
INK, LINE = '#222222', '#5b6470'
# fill and edge: what is frozen, what is trained beside the backbone, the backbone, the losses
FROZEN, TRAINED, BACKBONE, LOSS = (
    ('#e3f1fb', '#0072B2'),
    ('#fff1d6', '#D98200'),
    ('#eceff1', '#5b6470'),
    ('#f6e6f0', '#b0528d'),
)
WHITE = '#ffffff'
# the backbone: heights of its levels, as in a U-Net, its middle, and the line that brings guidance to it
HEIGHTS = (12.0, 9.5, 7.0, 5.0, 7.0, 9.5, 12.0)
FLOOR, RAIL = 10.0, 19.2
FIRST, STEP = 21.0, 7.3  # middle of the first level, and from one to the next


def canvas() -> tuple[Figure, Axes]:
    """Make a diagram with the legend, a degraded image at the left and a restored one at the right.

    It has 1000 by 500 pixels, and its places run from (0, 0) to (100, 50).
    """
    figure = Figure((WIDTH, HEIGHT), dpi=DPI, facecolor='white')
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 100), ylim=(0, 50))
    axes.set_axis_off()
    degraded = noisy(photograph())
    image(axes, degraded, (1.5, 4), 12, 'degraded')
    image(axes, cv2.bilateralFilter(degraded, 9, 90, 9), (76, 4), 12, 'restored')
    legend(axes)
    return figure, axes


def junction(level: int) -> float:
    """Give the place across at which a level of the backbone, from 0, may be guided: behind it."""
    return FIRST + STEP * (level + 0.5)


def backbone(axes: Axes, words: str, guided: Collection[int] = range(len(HEIGHTS)), top: float = RAIL) -> None:
    """Draw the backbone between both images, with words below.

    Args:
        axes: The diagram.
        words: What it is.
        guided: Behind which levels a feature is guided.
        top: Where the arrows of guidance begin.
    """
    arrow(axes, [(14, FLOOR), (FIRST - 2, FLOOR)])
    for level, height in enumerate(HEIGHTS):
        x, middle = FIRST + STEP * level, junction(level)
        box(axes, (x - 1.8, FLOOR - height / 2), 3.6, height, BACKBONE)
        line(axes, [(x + 1.9, FLOOR), (x + STEP - 1.9, FLOOR)], LINE)
        if level in guided:
            arrow(axes, [(middle, top), (middle, FLOOR + 1.4)], colour=TRAINED[1])
            axes.add_patch(Circle((middle, FLOOR), 1.25, facecolor=TRAINED[0], edgecolor=TRAINED[1], zorder=3))
    arrow(axes, [(junction(len(HEIGHTS) - 1) + 1.3, FLOOR), (75.6, FLOOR)])
    text(axes, (43, 1.7), words)


def rail(axes: Axes) -> None:
    """Draw the line from which all levels of the backbone are guided."""
    line(axes, [(junction(0), RAIL), (junction(len(HEIGHTS) - 1), RAIL)], TRAINED[1])


def legend(axes: Axes) -> None:
    """Say at the top what the colours mean."""
    for x, fill, words in (
        (1.5, FROZEN, 'frozen'),
        (10.5, TRAINED, 'trained beside the backbone'),
        (31, BACKBONE, 'the backbone, trained too'),
        (50, LOSS, 'losses, in training only'),
    ):
        box(axes, (x, 47.9), 1.6, 1.2, fill)
        text(axes, (x + 2.4, 48.5), words, size=8, ha='left')


def photograph() -> Array:
    """Give a square photograph, uint8 RGB."""
    return np.asarray(data.astronaut()[10:210, 120:320])


def noisy(pixels: Array) -> Array:
    """Give a uint8 image with strong noise, the same each time."""
    noise = np.random.default_rng(0).normal(0, 38, pixels.shape)
    return np.asarray(np.clip(pixels + noise, 0, 255), np.uint8)


def image(axes: Axes, pixels: Array, corner: Point, side: float, title: str) -> None:
    """Draw a square image, uint8 RGB, with a title above."""
    x, y = corner
    axes.imshow(pixels, extent=(x, x + side, y, y + side), interpolation='antialiased', zorder=2, aspect='auto')
    axes.set(xlim=(0, 100), ylim=(0, 50))
    text(axes, (x + side / 2, y + side + 1), title)


def box(axes: Axes, corner: Point, width: float, height: float, colours: tuple[str, str], radius: float = 0.8) -> None:
    """Draw a box with round corners, in a colour for its inside and one for its edge."""
    fill, edge = colours
    axes.add_patch(FancyBboxPatch(
        corner, width, height, boxstyle=f'round,pad=0,rounding_size={min(radius, height / 3)}', facecolor=fill,
        edgecolor=edge, linewidth=1.1, zorder=2,
    ))  # fmt: skip


def text(axes: Axes, place: Point, words: str, *, size: float = 9.5, bold: bool = False, ha: str = 'center') -> None:
    """Write a text whose middle, or end where ``ha`` says so, is at a place."""
    weight = 'bold' if bold else 'normal'
    axes.text(
        *place, words, fontsize=size, fontweight=weight, ha=ha, va='center', color=INK, zorder=4, linespacing=1.35
    )


def line(axes: Axes, points: list[Point], colour: str, dashed: bool = False) -> None:
    """Draw a line through points."""
    xs, ys = zip(*points)
    axes.plot(xs, ys, color=colour, linewidth=1.3, linestyle='--' if dashed else '-', zorder=1, solid_capstyle='round')


def arrow(
    axes: Axes,
    points: list[Point],
    colour: str = LINE,
    dashed: bool = False,
    both: bool = False,
    zorder: int = 1,
) -> None:
    """Draw a line through points, with a head at its end, or at both."""
    if len(points) > 2:
        line(axes, points[:-1], colour, dashed)
    ends = [(points[-2], points[-1])] + ([(points[1], points[0])] if both else [])
    for start, end in ends:
        axes.add_patch(FancyArrowPatch(
            start, end, arrowstyle='-|>', mutation_scale=9, color=colour, linewidth=1.3, shrinkA=0, shrinkB=0,
            linestyle='--' if dashed else '-', zorder=zorder,
        ))  # fmt: skip
