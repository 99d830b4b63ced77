"""The diagram of DINO-IR is drawn by one command, and docs/ has what it draws."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('matplotlib')

from dinoir_plugin.experiments.method_diagram import draw

DRAWN = Path(__file__).parents[2] / 'docs' / 'dinoir.png'


def test_the_diagram_is_that_of_the_documentation(tmp_path):
    draw(tmp_path / 'new' / 'dinoir.png')
    one, other = (np.asarray(Image.open(path).convert('L'), float) for path in (tmp_path / 'new/dinoir.png', DRAWN))
    assert one.shape == other.shape == (500, 1000)
    # letters are drawn otherwise by other versions of matplotlib
    assert np.abs(one - other).mean() < 4, 'draw it anew: python scripts/diagram.py docs/dinoir.png'
