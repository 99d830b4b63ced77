import pytest
import torch
from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.conv_stack import NORM_EPS, conv_stack


@pytest.mark.parametrize(('mode', 'between'), [('R', ['Conv2d', 'ReLU']), ('BR', ['Conv2d', 'BatchNorm2d', 'ReLU'])])
@pytest.mark.parametrize('count', [2, 3, 5])
def test_layers_stand_in_one_row(mode, between, count):
    stack = conv_stack(3, 2, 8, count, mode)
    names = [type(layer).__name__ for layer in stack]
    assert names == ['Conv2d', 'ReLU', *between * (count - 2), 'Conv2d']
    assert stack(torch.rand(1, 3, 9, 7)).shape == (1, 2, 9, 7)
    assert all(layer.eps == NORM_EPS for layer in stack if isinstance(layer, nn.BatchNorm2d))
    assert all(not layer.bias.any() for layer in stack if isinstance(layer, nn.Conv2d))


def test_an_image_does_not_fade_away_on_many_layers():
    torch.manual_seed(0)
    stack = conv_stack(3, 3, 32, 20, 'R')
    with torch.no_grad():
        assert 0.2 < stack(torch.randn(1, 3, 32, 32)).std() < 5


@pytest.mark.parametrize(('count', 'mode', 'path'), [(1, 'R', 'nb'), (3, 'RB', 'act_mode')])
def test_impossible_stacks_are_named(count, mode, path):
    with pytest.raises(OptionsError) as caught:
        conv_stack(3, 3, 8, count, mode)
    assert caught.value.path == path
