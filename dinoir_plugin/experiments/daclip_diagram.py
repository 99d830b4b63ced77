"""The diagram of DA-CLIP: how CLIP is controlled, what it says of the image, and where a backbone gets it."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from dinoir_plugin.experiments.drawing import (
    FROZEN,
    LOSS,
    RAIL,
    TRAINED,
    WHITE,
    arrow,
    backbone,
    box,
    canvas,
    line,
    rail,
    text,
)
from dinoir_plugin.experiments.figure_style import save

BLOCKS = 6  # drawn, of twelve
CONTROLLER, TOWER = 36.0, 24.4  # lower edges of the rows of blocks


def draw(out: Path) -> None:
    """Write the diagram as PNG, 1000 by 500 pixels; an OSError where it cannot be written."""
    figure, axes = canvas()
    _daclip(axes)
    _embeddings(axes)
    _stage1(axes)
    rail(axes)
    backbone(axes, 'backbone, e.g. Restormer:  ○  scales and shifts, at the modules that guide_at names')
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
            box(axes, (x - 1.2, bottom), 2.4, 4.6, (WHITE, FROZEN[1]), radius=0.3)
        arrow(axes, [(x, CONTROLLER - 0.1), (_block(BLOCKS - 1 - block), TOWER + 4.7)], colour='#4a9fd4', zorder=3)
    arrow(axes, [(7.5, 17.8), (7.5, CONTROLLER + 2.3), (13.8, CONTROLLER + 2.3)])
    arrow(axes, [(7.5, TOWER + 2.3), (13.8, TOWER + 2.3)])


def _embeddings(axes: Axes) -> None:
    """Draw both embeddings, the prompt, and their way to the backbone."""
    for y, words in ((CONTROLLER, 'degradation'), (TOWER, 'content')):
        arrow(axes, [(45.2, y + 2.3), (48.8, y + 2.3)])
        box(axes, (49, y + 0.4), 11.5, 3.8, (WHITE, FROZEN[1]), radius=0.5)
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


def _block(number: int) -> float:
    """Give the middle of a block."""
    return 18.0 + 4.6 * number
