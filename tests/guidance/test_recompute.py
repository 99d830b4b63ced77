"""Modules that are computed again in the backward pass: the same numbers, copies and pickles."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.attach import attach, conditioned
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.recompute import recompute_modules


class Scale(nn.Module):
    """An injector: times the mean of the condition's vector, and a learned number for each channel."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(1, 2, channels))

    def forward(self, feature, condition):
        return feature * self.scale.view(1, -1, 1, 1) * condition.vector.mean(dim=1).view(-1, 1, 1, 1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.calls = 0

    def forward(self, x, gain=1.0):
        self.calls += 1
        return x + gain * self.conv(x).relu()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.intro = nn.Conv2d(3, 4, 1)
        self.level1 = nn.Sequential(Block(), Block())
        self.level2 = Block()

    def forward(self, x):
        return self.level2(self.level1(self.intro(x)), gain=0.5)


def guided_net():
    torch.manual_seed(0)
    net = Net()
    attach(net, ['level1', 'level2'], Scale)
    return net


def gradients(net, image, vector):
    net.zero_grad()
    with conditioned(net, Condition(vector=vector)):
        output = net(image)
    (output**2).sum().backward()
    return [parameter.grad.clone() for parameter in net.parameters()] + [vector.grad.clone()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return torch.rand(2, 3, 8, 8), torch.rand(2, 5, requires_grad=True)


def test_gradients_are_those_of_the_plain_network_after_the_condition_is_gone(inputs):
    net = guided_net()
    plain = gradients(net, *inputs)
    inputs[1].grad = None
    assert recompute_modules(net, ['level*']) == ['level1', 'level2']
    net.level2.calls = 0
    assert same(gradients(net, *inputs), plain)
    assert net.level2.calls == 2
    assert recompute_modules(net, ['level*']) == ['level1', 'level2']  # a second time changes nothing
    net.level2.calls = 0
    inputs[1].grad = None
    assert same(gradients(net, *inputs), plain) and net.level2.calls == 2


def test_evaluation_computes_once_and_state_dicts_stay(inputs):
    net = guided_net()
    names = list(net.state_dict())
    recompute_modules(net, ['level2'])
    assert list(net.state_dict()) == names and isinstance(net.level2, Block)
    with conditioned(net.eval(), Condition(vector=inputs[1])):
        net(inputs[0])
    assert net.level2.calls == 1


def through_torch(net):
    stream = io.BytesIO()
    torch.save(net, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), through_torch])
def test_copies_and_pickles_are_recomputed_too_and_stand_for_themselves(copied, inputs):
    net = guided_net()
    recompute_modules(net, ['level*'])
    twin = copied(net)
    assert type(twin.level1) is type(net.level1) and isinstance(twin.level1, nn.Sequential)
    expected = gradients(net, *inputs)
    inputs[1].grad = None
    twin.level2.calls = 0
    assert same(gradients(twin, *inputs), expected) and twin.level2.calls == 2
    inputs[1].grad = None
    twin.level2.conv.weight.data.zero_()
    assert same(gradients(net, *inputs), expected)


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(OptionsError, match=r"checkpointing: .*no module 'levle1'"):
        recompute_modules(Net(), ['levle1'])
