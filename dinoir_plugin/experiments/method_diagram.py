"""The diagram of DINO-IR: what looks at the image, what it makes of it, and where the backbone gets it."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from dinoir_plugin.experiments.drawing import (
    FLOOR,
    FROZEN,
    LOSS,
    RAIL,
    TRAINED,
    WHITE,
    arrow,
    backbone,
    box,
    canvas,
    image,
    line,
    photograph,
    rail,
    text,
)
from dinoir_plugin.experiments.figure_style import save

LEVELS = {'shallow': 3, 'medium': 7, 'deep': 11}
BLOCKS = 12
TINTS = {'shallow': '#9fd0ee', 'medium': '#4a9fd4', 'deep': '#0b5f98'}


def draw(out: Path) -> None:
    """Write the diagram as PNG, 1000 by 500 pixels; an OSError where it cannot be written."""
    figure, axes = canvas()
    image(axes, photograph(), (87.5, 20.5), 9.5, '')
    text(axes, (92.2, 31.4), 'target')
    _encoder(axes)
    _fusion_of_levels(axes)
    line(axes, [(59.5, 24.4), (59.5, RAIL)], TRAINED[1])
    rail(axes)
    backbone(axes, 'backbone, e.g. Restormer:  ○  is a D-R fusion, at the modules that guide_at names')
    _losses(axes)
    save(figure, out)


def _encoder(axes: Axes) -> None:
    """Draw the encoder's blocks, of which three give features."""
    box(axes, (14, 35.5), 36, 10.5, FROZEN)
    text(axes, (32, 44.2), 'encoder, e.g. DINOv2', bold=True)
    taps = {block: name for name, block in LEVELS.items()}
    for block in range(BLOCKS):
        fill = TINTS[taps[block]] if block in taps else WHITE
        box(axes, (_block(block) - 0.7, 37), 1.4, 5.2, (fill, FROZEN[1]), radius=0.3)
    arrow(axes, [(7.5, 17.8), (7.5, 40.5), (13.8, 40.5)])


def _fusion_of_levels(axes: Axes) -> None:
    """Draw PSF: an expert for each level, and the gate that weighs them."""
    box(axes, (14, 22), 36, 10.5, TRAINED)
    text(axes, (15, 31.2), 'PSF', bold=True, ha='left')
    box(axes, (15.3, 23.2), 5.4, 3.4, (WHITE, TRAINED[1]), radius=0.5)
    text(axes, (18, 24.9), 'gate', size=8.5)
    for name, block in LEVELS.items():
        x = _block(block)
        arrow(axes, [(x, 36.9), (x, 30.1)], colour=TINTS[name], zorder=3)
        text(axes, (x + 0.8, 33.9), name, size=8.5, ha='left')
        box(axes, (x - 3.1, 26.7), 6.2, 3.2, (WHITE, TRAINED[1]), radius=0.5)
        text(axes, (x, 28.3), 'expert', size=8.5)
        text(axes, (x, 24.9), rf'$\times\;s_{{\mathrm{{{name}}}}}$', size=9.5)
    for block in (5, 9):
        text(axes, (_block(block), 24.9), '+', size=10)
    arrow(axes, [(50.2, 27.2), (54.8, 27.2)])
    box(axes, (55, 24.6), 9, 5.2, TRAINED)
    text(axes, (59.5, 27.2), 'guide', bold=True)


def _losses(axes: Axes) -> None:
    """Draw what compares the restored image with the target."""
    box(axes, (72, 35.5), 26.5, 10.5, LOSS)
    text(axes, (85.2, 44.2), 'DPC loss', bold=True)
    text(
        axes,
        (85.2, 39.6),
        "features of the restored image:\ndrawn to the target's,\naway from the degraded image's",
        size=8.5,
    )
    arrow(axes, [(82, 17.8), (82, 35.3)])
    arrow(axes, [(92.2, 32.6), (92.2, 35.3)])
    arrow(axes, [(50.3, 40.5), (71.8, 40.5)], dashed=True)
    text(axes, (61, 42), 'the same encoder', size=8.5)
    arrow(axes, [(88.2, FLOOR), (92.2, FLOOR), (92.2, 20.3)], both=True, colour=LOSS[1])
    text(axes, (93, 13.5), 'L1', bold=True, ha='left')


def _block(number: int) -> float:
    """Give the middle of an encoder's block."""
    return 17.6 + 2.55 * number
