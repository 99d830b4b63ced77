"""Random numbers go on where they were."""

import random

import numpy as np
import torch

from dinoir_plugin.core import random_state


def draw():
    return [torch.rand(1).item(), float(np.random.rand()), np.random.randn(), random.random(), random.gauss(0, 1)]


def test_what_was_captured_comes_again_also_from_a_file(tmp_path):
    draw()
    torch.save(random_state.capture(), tmp_path / 'x.pth')
    first, second = draw(), draw()
    random_state.restore(torch.load(tmp_path / 'x.pth', weights_only=True))
    assert draw() == first and draw() == second


def test_nothing_was_drawn_inside():
    with random_state.kept():
        first = draw()
    try:
        with random_state.kept():
            assert draw() == first
            raise KeyError
    except KeyError:
        pass
    assert draw() == first
