import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.attach import attach, conditioned
from dinoir_plugin.guidance.condition import Condition


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.unused = nn.Conv2d(1, 1, 1)
        self.flat = nn.Flatten(2)
        self.tail = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        x = self.body(self.stem(x))
        self.flat(x)
        return self.tail(x)


class AddMean(nn.Module):
    """A fusion that can be checked by hand: adds a learned multiple of the guide's mean."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 2.0))

    def forward(self, feature, condition):
        guide = condition.maps['guide']
        return feature + self.scale.view(1, -1, 1, 1) * guide.mean(dim=(1, 2, 3), keepdim=True)


def test_guides_sequentials_and_other_modules_and_keeps_parameter_names():
    net = Net()
    names = set(net.state_dict())
    before = copy.deepcopy(net)
    assert attach(net, ['body', 'stem'], AddMean) == ['stem', 'body']
    assert names < set(net.state_dict())
    assert net.get_submodule('body.guidance.fusion').scale.shape == (6,)
    x, guide = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 2, 2)
    shift = 2 * guide.mean(dim=(1, 2, 3), keepdim=True)
    expected = before.tail(before.body(before.stem(x) + shift) + shift)
    with conditioned(net, Condition(maps={'guide': guide})):
        torch.testing.assert_close(net(x), expected)


class InTurn(nn.Sequential):
    """Runs through its children by itself, and hands more to them than a feature."""

    def forward(self, x, *others):
        for child in self:
            x = child(x, *others)
        return x


@pytest.mark.parametrize('others', [(), (3,)])
def test_sequentials_with_a_forward_of_their_own_are_guided_once(others):
    class Layer(nn.Conv2d):
        def forward(self, x, *others):
            return super().forward(x)

    net = InTurn(InTurn(Layer(3, 4, 1)), Layer(4, 3, 1))
    first, last = net[0][0], net[1]
    attach(net, ['0'], AddMean)
    x, guide = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 2, 2)
    with conditioned(net, Condition(maps={'guide': guide})):
        torch.testing.assert_close(net(x, *others), last(first(x) + 2 * guide.mean(dim=(1, 2, 3), keepdim=True)))


def test_networks_that_take_no_rgb_are_refused():
    with pytest.raises(OptionsError, match=r'Sequential does not take a trial input of shape \(1, 3, 64, 64\)'):
        attach(nn.Sequential(nn.Conv2d(4, 4, 1)), ['0'], AddMean)


def test_networks_that_do_not_take_every_size_are_guided():
    network = nn.Sequential(nn.PixelUnshuffle(12), nn.Conv2d(432, 432, 1), nn.PixelShuffle(12))
    widths = []

    def fusion(channels):
        widths.append(channels)
        return AddMean(channels)

    assert attach(network, ['1'], fusion) == ['1'] and widths == [432]


def test_copies_are_guided_by_themselves():
    net = Net()
    attach(net, ['stem'], AddMean)
    x, guide = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin.stem.guidance.fusion.scale.data.zero_()
        with conditioned(twin, Condition(maps={'guide': guide})), conditioned(net, Condition(maps={'guide': guide})):
            assert not torch.allclose(twin(x), net(x))
            assert torch.allclose(twin.stem(x), nn.functional.conv2d(x, net.stem.weight, net.stem.bias, padding=1))


def test_outside_of_a_guided_forward_it_says_so():
    net = Net()
    attach(net, ['body'], AddMean)
    with pytest.raises(RuntimeError, match='guided network'):
        net(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    ('names', 'message'),
    [(['bodi'], "did you mean 'body'"), (['unused'], 'not called'), (['flat'], 'B, C, H, W')],
)
def test_what_cannot_be_guided_is_named(names, message):
    with pytest.raises(OptionsError, match=message):
        attach(Net(), names, AddMean)


def test_the_lower_rooms_never_import_basicsr():
    code = (
        'import pkgutil, sys, importlib, dinoir_plugin\n'
        "for room in ('core', 'imaging', 'nn', 'encoders', 'inference', 'guidance'):\n"
        "    package = importlib.import_module(f'dinoir_plugin.{room}')\n"
        "    for info in pkgutil.iter_modules(package.__path__, f'{package.__name__}.'):\n"
        '        try:\n'
        '            importlib.import_module(info.name)\n'
        '        except ModuleNotFoundError as error:  # kernels, where torch is not for CUDA\n'
        "            assert error.name == 'triton'\n"
        "sys.exit('basicsr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
