"""The diagram of DINO-IR: what looks at the image, what it makes of it, and where the backbone gets it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from skimage import data

from dinoir_plugin.experiments.figure_style import DPI, WIDTH, save
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
LEVELS = {'shallow': 3, 'medium': 7, 'deep': 11}
BLOCKS = 12
TINTS = {'shallow': '#9fd0ee', 'medium': '#4a9fd4', 'deep': '#0b5f98'}
# heights of the backbone's levels, as in a U-Net
HEIGHTS = (12.0, 9.5, 7.0, 5.0, 7.0, 9.5, 12.0)
FLOOR = 10.0  # middle of the backbone


def draw(out: Path) -> None:
    """Write the diagram as PNG, 1000 by 500 pixels; an OSError where it cannot be written."""
    figure = Figure((WIDTH, HEIGHT), dpi=DPI, facecolor='white')
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 100), ylim=(0, 50))
    axes.set_axis_off()
    clean = data.astronaut()[10:210, 120:320]
    noisy = _noisy(clean)
    _image(axes, noisy, (1.5, 4), 12, 'degraded')
    _image(axes, cv2.bilateralFilter(noisy, 9, 90, 9), (76, 4), 12, 'restored')
    _image(axes, clean, (87.5, 20.5), 9.5, '')
    _text(axes, (92.2, 31.4), 'target')
    _encoder(axes)
    _fusion_of_levels(axes)
    _backbone(axes)
    _losses(axes)
    for x, fill, words in (
        (1.5, FROZEN, 'frozen'),
        (10.5, TRAINED, 'trained beside the backbone'),
        (31, BACKBONE, 'the backbone, trained too'),
        (50, LOSS, 'losses, in training only'),
    ):
        _box(axes, (x, 47.9), 1.6, 1.2, fill)
        _text(axes, (x + 2.4, 48.5), words, size=8, ha='left')
    save(figure, out)


def _encoder(axes: Axes) -> None:
    """Draw the encoder's blocks, of which three give features."""
    _box(axes, (14, 35.5), 36, 10.5, FROZEN)
    _text(axes, (32, 44.2), 'encoder, e.g. DINOv2', bold=True)
    taps = {block: name for name, block in LEVELS.items()}
    for block in range(BLOCKS):
        fill = TINTS[taps[block]] if block in taps else '#ffffff'
        _box(axes, (_block(block) - 0.7, 37), 1.4, 5.2, (fill, FROZEN[1]), radius=0.3)
    _arrow(axes, [(7.5, 17.8), (7.5, 40.5), (13.8, 40.5)])


def _fusion_of_levels(axes: Axes) -> None:
    """Draw PSF: an expert for each level, and the gate that weighs them."""
    _box(axes, (14, 22), 36, 10.5, TRAINED)
    _text(axes, (15, 31.2), 'PSF', bold=True, ha='left')
    _box(axes, (15.3, 23.2), 5.4, 3.4, ('#ffffff', TRAINED[1]), radius=0.5)
    _text(axes, (18, 24.9), 'gate', size=8.5)
    for name, block in LEVELS.items():
        x = _block(block)
        _arrow(axes, [(x, 36.9), (x, 30.1)], colour=TINTS[name], zorder=3)
        _text(axes, (x + 0.8, 33.9), name, size=8.5, ha='left')
        _box(axes, (x - 3.1, 26.7), 6.2, 3.2, ('#ffffff', TRAINED[1]), radius=0.5)
        _text(axes, (x, 28.3), 'expert', size=8.5)
        _text(axes, (x, 24.9), rf'$\times\;s_{{\mathrm{{{name}}}}}$', size=9.5)
    for block in (5, 9):
        _text(axes, (_block(block), 24.9), '+', size=10)
    _arrow(axes, [(50.2, 27.2), (54.8, 27.2)])
    _box(axes, (55, 24.6), 9, 5.2, TRAINED)
    _text(axes, (59.5, 27.2), 'guide', bold=True)


def _backbone(axes: Axes) -> None:
    """Draw the backbone's levels, and a D-R fusion behind each of them."""
    step = 7.3
    places = [21 + step * number for number in range(len(HEIGHTS))]
    _arrow(axes, [(14, FLOOR), (19, FLOOR)])
    _line(axes, [(59.5, 24.4), (59.5, 19.2)], TRAINED[1])
    _line(axes, [(places[0] + step / 2, 19.2), (places[-1] + step / 2, 19.2)], TRAINED[1])
    for x, height in zip(places, HEIGHTS):
        _box(axes, (x - 1.8, FLOOR - height / 2), 3.6, height, BACKBONE)
        _line(axes, [(x + 1.9, FLOOR), (x + step - 1.9, FLOOR)], LINE)
        _arrow(axes, [(x + step / 2, 19.2), (x + step / 2, FLOOR + 1.4)], colour=TRAINED[1])
        axes.add_patch(Circle((x + step / 2, FLOOR), 1.25, facecolor=TRAINED[0], edgecolor=TRAINED[1], zorder=3))
    _arrow(axes, [(places[-1] + step / 2 + 1.3, FLOOR), (75.6, FLOOR)])
    _text(axes, (43, 1.7), 'backbone, e.g. Restormer:  ○  is a D-R fusion, at the modules that guide_at names')


def _losses(axes: Axes) -> None:
    """Draw what compares the restored image with the target."""
    _box(axes, (72, 35.5), 26.5, 10.5, LOSS)
    _text(axes, (85.2, 44.2), 'DPC loss', bold=True)
    _text(
        axes,
        (85.2, 39.6),
        "features of the restored image:\ndrawn to the target's,\naway from the degraded image's",
        size=8.5,
    )
    _arrow(axes, [(82, 17.8), (82, 35.3)])
    _arrow(axes, [(92.2, 32.6), (92.2, 35.3)])
    _arrow(axes, [(50.3, 40.5), (71.8, 40.5)], dashed=True)
    _text(axes, (61, 42), 'the same encoder', size=8.5)
    _arrow(axes, [(88.2, FLOOR), (92.2, FLOOR), (92.2, 20.3)], both=True, colour=LOSS[1])
    _text(axes, (93, 13.5), 'L1', bold=True, ha='left')


def _block(number: int) -> float:
    """Give the middle of an encoder's block."""
    return 17.6 + 2.55 * number


def _noisy(image: Array) -> Array:
    noise = np.random.default_rng(0).normal(0, 38, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def _image(axes: Axes, image: Array, corner: Point, side: float, title: str) -> None:
    x, y = corner
    axes.imshow(image, extent=(x, x + side, y, y + side), interpolation='antialiased', zorder=2, aspect='auto')
    axes.set(xlim=(0, 100), ylim=(0, 50))
    _text(axes, (x + side / 2, y + side + 1), title)


def _box(axes: Axes, corner: Point, width: float, height: float, colours: tuple[str, str], radius: float = 0.8) -> None:
    fill, edge = colours
    axes.add_patch(FancyBboxPatch(
        corner, width, height, boxstyle=f'round,pad=0,rounding_size={min(radius, height / 3)}', facecolor=fill,
        edgecolor=edge, linewidth=1.1, zorder=2,
    ))  # fmt: skip


def _text(axes: Axes, place: Point, text: str, *, size: float = 9.5, bold: bool = False, ha: str = 'center') -> None:
    weight = 'bold' if bold else 'normal'
    axes.text(*place, text, fontsize=size, fontweight=weight, ha=ha, va='center', color=INK, zorder=4, linespacing=1.35)


def _line(axes: Axes, points: list[Point], colour: str, dashed: bool = False) -> None:
    xs, ys = zip(*points)
    axes.plot(xs, ys, color=colour, linewidth=1.3, linestyle='--' if dashed else '-', zorder=1, solid_capstyle='round')


def _arrow(
    axes: Axes,
    points: list[Point],
    colour: str = LINE,
    dashed: bool = False,
    both: bool = False,
    zorder: int = 1,
) -> None:
    """Draw a line through points, with a head at its end, or at both."""
    if len(points) > 2:
        _line(axes, points[:-1], colour, dashed)
    ends = [(points[-2], points[-1])] + ([(points[1], points[0])] if both else [])
    for start, end in ends:
        axes.add_patch(FancyArrowPatch(
            start, end, arrowstyle='-|>', mutation_scale=9, color=colour, linewidth=1.3, shrinkA=0, shrinkB=0,
            linestyle='--' if dashed else '-', zorder=zorder,
        ))  # fmt: skip
