"""The diagram of Perceive-IR: what it sees in the image, where the network gets it, and what judges the outcome."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from dinoir_plugin.experiments.drawing import (
    FLOOR,
    FROZEN,
    LOSS,
    TRAINED,
    WHITE,
    arrow,
    backbone,
    box,
    canvas,
    image,
    junction,
    line,
    photograph,
    text,
)
from dinoir_plugin.experiments.figure_style import save

BLOCKS, LAYERS = 12, (0, 3, 7, 11)  # of the encoder, and those whose class tokens are taken
TINTS = ('#9fd0ee', '#6cb4e0', '#2f86c0', '#0b5f98')
GUIDED = (2, 3, 4, 5)  # levels of the backbone; the lowest of them is given the deepest token
MODULES = 19.4  # lower edge of the row of modules


def draw(out: Path) -> None:
    """Write the diagram as PNG, 1000 by 500 pixels; an OSError where it cannot be written."""
    figure, axes = canvas()
    image(axes, photograph(), (90, 4), 8.5, 'target')
    _encoder(axes)
    _code(axes)
    _modules(axes)
    backbone(
        axes, 'Restormer-like network, or any backbone:  ○  scales and shifts what enters a level', GUIDED, MODULES
    )
    _losses(axes)
    save(figure, out)


def _encoder(axes: Axes) -> None:
    """Draw the encoder's blocks, and the class tokens of four of them."""
    box(axes, (31, 36.5), 36, 9.5, FROZEN)
    text(axes, (49, 44.3), 'DINOv2', bold=True)
    for block in range(BLOCKS):
        fill = TINTS[LAYERS.index(block)] if block in LAYERS else WHITE
        box(axes, (_block(block) - 0.7, 37.7), 1.4, 5.0, (fill, FROZEN[1]), radius=0.3)
    arrow(axes, [(7.5, 17.8), (7.5, 41.2), (30.8, 41.2)])
    for depth, (layer, level) in enumerate(zip(LAYERS, reversed(GUIDED))):
        arrow(axes, [(_block(layer), 37.5), (junction(level), MODULES + 4.2)], colour=TINTS[depth], zorder=3)
        text(axes, (_block(layer) + 0.5, 35.0), f'$F_{depth + 1}$', ha='left')


def _code(axes: Axes) -> None:
    """Draw what makes the code, and its way to the modules."""
    box(axes, (14, MODULES), 15, 9, TRAINED)
    text(axes, (21.5, MODULES + 6.4), 'CFE', bold=True)
    text(axes, (21.5, MODULES + 3.0), 'code $Z$ of\nthe degradation', size=8.5)
    arrow(axes, [(7.5, MODULES + 2), (13.8, MODULES + 2)])


def _modules(axes: Axes) -> None:
    """Draw a module for each level, which makes factors and shifts of a token and the code."""
    line(axes, [(29.2, MODULES + 2), (junction(GUIDED[-1]), MODULES + 2)], TRAINED[1])
    text(axes, (32.5, MODULES + 3.1), '$Z$')
    for level in GUIDED:
        box(axes, (junction(level) - 2.6, MODULES), 5.2, 4, TRAINED, radius=0.5)
        text(axes, (junction(level), MODULES + 2), 'PGM', size=9)


def _losses(axes: Axes) -> None:
    """Draw what judges the restored image, and what the judge learned before."""
    box(axes, (71, 38.3), 27.5, 7.7, LOSS)
    text(axes, (84.7, 44.4), 'stage 1, before: quality prompts', bold=True)
    text(axes, (84.7, 40.9), "'terrible', 'mediocre', 'excellent': learned texts for\ndegraded, half-restored, clean "
                             'images (frozen CLIP)', size=7.5)  # fmt: skip
    arrow(axes, [(84.7, 38.1), (84.7, 36.3)], colour=LOSS[1])
    box(axes, (71, 22), 27.5, 14.1, LOSS)
    text(axes, (84.7, 34.4), 'losses of stage 2', bold=True)
    for y, words in (
        (31.6, "CLIP: the restored image looks 'excellent'"),
        (28.2, 'VGG: near the target; far from the degraded\nimage and from what other networks restored'),
        (24.3, 'codes: near for patches of one image,\nfar for other degradations'),
    ):
        text(axes, (84.7, y), words, size=8)
    arrow(axes, [(82, 17.8), (82, 21.8)])
    arrow(axes, [(94.2, 14.6), (94.2, 21.8)])
    arrow(axes, [(88.2, FLOOR), (89.8, FLOOR)], both=True, colour=LOSS[1])
    text(axes, (89, FLOOR + 1.6), 'L1', bold=True)


def _block(number: int) -> float:
    """Give the middle of an encoder's block."""
    return 34.9 + 2.55 * number
