"""Modules that can be guided are found, gathered and named where another one was meant."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.attach import attach
from dinoir_plugin.guidance.places import Feature, Place, gathered, guidable, instead_of, outermost, probe


class Block(nn.Module):
    """Gives tokens; its convolution gives a feature."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(x).flatten(2)


class Last(nn.Module):
    """Gives a feature whose channels stand last."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class Tokens(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.layers = nn.ModuleList(Block(4) for _ in range(depth))
        self.down = nn.Conv2d(4, 6, 2, stride=2)
        self.up = nn.ConvTranspose2d(6, 3, 2, stride=2)
        self.unused = nn.Identity()

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = layer(x).unflatten(2, x.shape[2:])
        return self.up(self.down(x))


FULL = Feature(4, Fraction(1))


def test_what_gives_a_feature_of_the_image_is_found_with_width_and_scale():
    features = guidable(Tokens())
    assert features == {
        'first': FULL, 'first.0': FULL, 'first.1': FULL, 'layers.0.conv': FULL, 'layers.1.conv': FULL,
        'layers.2.conv': FULL, 'down': Feature(6, Fraction(1, 2)), 'up': Feature(3, Fraction(1)),
    }  # fmt: skip
    assert outermost(features) == ['first', 'layers.0.conv', 'layers.1.conv', 'layers.2.conv', 'down', 'up']
    assert outermost(features, levels=2) == list(features)


def test_what_gives_none_is_said_in_words():
    said = {'layers.0': '(1, 4, 4096)', 'unused': 'nothing: it is not called'}
    assert probe(Tokens(), ['layers.0', 'unused']) == said
    assert probe(nn.Sequential(Last()), ['0']) == {'0': '(1, 64, 64, 3)'}
    with pytest.raises(OptionsError, match=r'^backbone: Sequential does not take a trial input of shape'):
        probe(nn.Sequential(nn.Linear(5, 5)), ['0'])


def test_alike_modules_become_one_pattern_where_it_names_them_alone():
    network = Tokens()
    features = guidable(network)
    places = gathered(features, network)
    assert [place.pattern for place in places] == ['first', 'first.*', 'layers.*.conv', 'down', 'up']
    assert places[2] == Place('layers.*.conv', 3, FULL)
    names = [f'layers.{number}.conv' for number in range(3)]
    assert attach(network, [places[2].pattern], lambda channels: nn.Identity()) == names
    del features['layers.1.conv']
    assert [place.pattern for place in gathered(features, network)][2:4] == ['layers.0.conv', 'layers.2.conv']


def test_the_error_names_ten_modules_that_do_those_inside_of_the_wrong_one_first():
    with pytest.raises(OptionsError) as wrong:
        attach(Tokens(depth=12), ['layers.5'], nn.Identity)
    assert str(wrong.value) == (
        "guide_at: guidance needs a module that gives a (B, C, H, W) feature, but 'layers.5' gives (1, 4, 4096) for "
        'one image. Those that do: layers.5.conv, first, layers.0.conv, layers.1.conv, layers.2.conv, layers.3.conv, '
        'layers.4.conv, layers.6.conv, layers.7.conv, layers.8.conv and 7 more; the command `dinoir modules` lists all.'
    )
    assert instead_of(nn.Sequential(nn.Flatten()), '0') == 'No module of this backbone can be guided'
    assert torch.is_grad_enabled()
