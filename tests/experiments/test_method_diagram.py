"""The diagrams of the methods are drawn by one command, and docs/ has what it draws."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('matplotlib')

from dinoir_plugin.experiments import daclip_diagram, method_diagram, perceive_ir_diagram

DOCS = Path(__file__).parents[2] / 'docs'
DRAWN = {'dinoir': method_diagram, 'daclip': daclip_diagram, 'perceive_ir': perceive_ir_diagram}


@pytest.mark.parametrize('name', DRAWN)
def test_the_diagram_is_that_of_the_documentation(name, tmp_path):
    new = tmp_path / 'new' / f'{name}.png'
    DRAWN[name].draw(new)
    one, other = (np.asarray(Image.open(path).convert('L'), float) for path in (new, DOCS / f'{name}.png'))
    assert one.shape == other.shape == (500, 1000)
    # letters are drawn otherwise by other versions of matplotlib
    most = 4 if pytest.importorskip('matplotlib').__version_info__[:2] >= (3, 11) else 6
    assert np.abs(one - other).mean() < most, f'draw it anew: python scripts/diagram.py docs/{name}.png --method {name}'
