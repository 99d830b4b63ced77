"""How the paper's figures are drawn: size, colours, captions and the file."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.imaging.decoding import Array

WIDTH = 10.0  # inches, so 1000 pixels
DPI = 100
CAPTION_LETTERS = 145  # in a line of WIDTH
# Okabe and Ito's colours, which colour-blind people tell apart; markers and strokes do so too
COLOURS = ('#000000', '#E69F00', '#56B4E9', '#009E73', '#D55E00', '#0072B2', '#CC79A7')
MARKERS = ('o', 's', '^', 'v', 'D', 'P', 'X')
STROKES = ('-', '--', '-.', ':', '-', '--', '-.')


def new_figure(height: float, title: str, caption: str) -> Figure:
    """Make an empty figure, 1000 pixels wide, that makes room for all its labels.

    Args:
        height: Inches.
        title: One line above.
        caption: What is shown, below; broken into lines here.
    """
    figure = Figure((WIDTH, height), dpi=DPI, layout='constrained')
    figure.suptitle(title, fontsize=13)
    lines = '\n'.join(textwrap.wrap(caption, CAPTION_LETTERS))
    figure.supxlabel(lines, fontsize=9.5, x=0.015, ha='left')
    return figure


def stroke(number: int) -> dict[str, Any]:
    """Choose colour, marker and line of a curve by its number; markers shrink, so that none hides under a later one."""
    number %= len(COLOURS)
    size = 10 - 1.2 * number
    return {'color': COLOURS[number], 'marker': MARKERS[number], 'linestyle': STROKES[number], 'markersize': size}


def show(axes: Axes, image: Array, title: str = '', below: str = '', **how: Any) -> Any:
    """Put an image or map into ``axes``, each of its cells as a square; return what ``imshow`` gives.

    Args:
        axes: Where to.
        image: (H, W, 3), RGB in [0, 1] or uint8, or a map (H, W).
        title: One line above.
        below: Lines below.
        how: Passed on to ``imshow``.
    """
    drawn = axes.imshow(image, interpolation='nearest', **how)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(below, fontsize=10)
    for side in axes.spines.values():
        side.set_visible(False)
    return drawn


def save(figure: Figure, out: Path) -> None:
    """Write the figure as PNG, whole or not at all; folders are made."""
    stream = io.BytesIO()
    # a person's own matplotlibrc may cut the borders off
    with rc_context({'savefig.bbox': None}):
        figure.savefig(stream, format='png', dpi=DPI)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, stream.getvalue())
