"""The diagram of DA-CLIP: how CLIP is controlled, what it says of the image, and where a backbone gets it."""

from __future__ import annotations

from pathlib import Path

import cv2
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from dinoir_plugin.experiments.drawing import (
    BACKBONE,
    FROZEN,
    LINE,
    LOSS,
    TRAINED,
    Point,
    arrow,
    box,
    canvas,
    image,
    legend,
    line,
    noisy,
    photograph,
    text,
)
from dinoir_plugin.experiments.figure_style import save

BLOCKS = 6  # drawn, of twelve
CONTROLLER, TOWER = 36.0, 24.4  # lower edges of the rows of blocks
HEIGHTS = (12.0, 9.5, 7.0, 5.0, 7.0, 9.5, 12.0)  # of the backbone's levels, as in a U-Net
FLOOR, RAIL = 10.0, 19.2  # middle of the backbone, and the line that brings guidance to it


def draw(out: Path) -> None:
    """Write the diagram as PNG, 1000 by 500 pixels; an OSError where it cannot be written."""
    figure, axes = canvas()
    degraded = noisy(photograph())
    image(axes, degraded, (1.5, 4), 12, 'degraded')
    image(axes, cv2.bilateralFilter(degraded, 9, 90, 9), (76, 4), 12, 'restored')
    _daclip(axes)
    _embeddings(axes)
    _stage1(axes)
    _backbone(axes)
    legend(axes)
    save(figure, out)


def _daclip(axes: Axes) -> None:
    """Draw the controller's blocks above those of CLIP's tower, which they control in reverse order."""
    box(axes, (14, 21.8), 31, 24.2, FROZEN)
    text(axes, (29.5, 44.2), 'DA-CLIP', bold=True)
    text(axes, (15.2, 41.9), 'controller, trained in stage 1', size=8.5, ha='left')
    text(axes, (43.8, 22.9), "CLIP's image tower", size=8.5, ha='right')
    for block in range(BLOCKS):
        x = _block(block)
        for bottom in (CONTROLLER, TOWER):
            box(axes, (x - 1.2, bottom), 2.4, 4.6, ('#ffffff', FROZEN[1]), radius=0.3)
        arrow(axes, [(x, CONTROLLER - 0.1), (_block(BLOCKS - 1 - block), TOWER + 4.7)], colour='#4a9fd4', zorder=3)
    arrow(axes, [(7.5, 17.8), (7.5, CONTROLLER + 2.3), (13.8, CONTROLLER + 2.3)])
    arrow(axes, [(7.5, TOWER + 2.3), (13.8, TOWER + 2.3)])


def _embeddings(axes: Axes) -> None:
    """Draw both embeddings, the prompt, and their way to the backbone."""
    for y, words in ((CONTROLLER, 'degradation'), (TOWER, 'content')):
        arrow(axes, [(45.2, y + 2.3), (48.8, y + 2.3)])
        box(axes, (49, y + 0.4), 11.5, 3.8, ('#ffffff', FROZEN[1]), radius=0.5)
        text(axes, (54.7, y + 2.3), words, bold=True)
    arrow(axes, [(54.7, CONTROLLER + 0.2), (54.7, 34.4)])
    box(axes, (47.5, 30.6), 14.5, 3.6, TRAINED)
    text(axes, (54.7, 32.4), 'learned prompt', size=9)
    line(axes, [(62.2, 32.4), (65.5, 32.4), (65.5, RAIL)], TRAINED[1])
    line(axes, [(54.7, TOWER + 0.2), (54.7, RAIL)], TRAINED[1])


def _stage1(axes: Axes) -> None:
    """Draw what trains the controller, before any backbone."""
    box(axes, (70, 24.4), 28.5, 21.6, LOSS)
    text(axes, (84.2, 44.2), 'stage 1, before: contrastive losses', bold=True)
    for y, words in (
        (CONTROLLER, "near to its word:  'noisy'"),
        (TOWER, "near to the target's caption:\n'a woman in an orange suit'"),
    ):
        line(axes, [(60.7, y + 2.3), (69.8, y + 2.3)], LOSS[1], dashed=True)
        text(axes, (84.2, y + 2.3), words)
    text(axes, (84.2, 32.7), "texts through CLIP's frozen text tower;\nfar from those of the other images", size=8.5)


def _backbone(axes: Axes) -> None:
    """Draw the backbone's levels, and where scale and shift meet what they give."""
    step = 7.3
    places: list[float] = [21 + step * number for number in range(len(HEIGHTS))]
    arrow(axes, [(14, FLOOR), (19, FLOOR)])
    line(axes, [(places[0] + step / 2, RAIL), (places[-1] + step / 2, RAIL)], TRAINED[1])
    for x, height in zip(places, HEIGHTS):
        middle: Point = (x + step / 2, FLOOR)
        box(axes, (x - 1.8, FLOOR - height / 2), 3.6, height, BACKBONE)
        line(axes, [(x + 1.9, FLOOR), (x + step - 1.9, FLOOR)], LINE)
        arrow(axes, [(middle[0], RAIL), (middle[0], FLOOR + 1.4)], colour=TRAINED[1])
        axes.add_patch(Circle(middle, 1.25, facecolor=TRAINED[0], edgecolor=TRAINED[1], zorder=3))
    arrow(axes, [(places[-1] + step / 2 + 1.3, FLOOR), (75.6, FLOOR)])
    text(axes, (43, 1.7), 'backbone, e.g. Restormer:  ○  scales and shifts, at the modules that guide_at names')


def _block(number: int) -> float:
    """Give the middle of a block."""
    return 18.0 + 4.6 * number
