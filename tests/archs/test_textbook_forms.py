"""The networks against their papers' equations written out plainly, values and gradients."""

import pytest
import torch

from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.nn import pixelwise
from dinoir_plugin.nn.restormer_blocks import TransformerBlock
from dinoir_plugin.testing.textbook.nafnet import textbook_nafnet
from dinoir_plugin.testing.textbook.restormer import textbook_restormer


def restormer(norm, bias):
    return Restormer(
        dim=8, num_blocks=[1, 2, 1, 1], num_refinement_blocks=1, heads=[1, 2, 4, 8], bias=bias, LayerNorm_type=norm
    )


def nafnet():
    net = NAFNet(width=8, enc_blk_nums=[1, 2], dec_blk_nums=[1, 1])
    for name, parameter in net.named_parameters():
        if name.endswith(('beta', 'gamma')):
            torch.nn.init.normal_(parameter)
    return net


CASES = [
    (lambda: restormer('WithBias', False), textbook_restormer),
    (lambda: restormer('BiasFree', True), textbook_restormer),
    (nafnet, textbook_nafnet),
]


@pytest.mark.parametrize(('make', 'textbook'), CASES, ids=['restormer', 'restormer-biasfree', 'nafnet'])
def test_values_and_gradients(make, textbook):
    torch.manual_seed(0)
    net = make().double()
    image = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    results = []
    for form in (net, lambda x: textbook(net, x)):
        net.zero_grad()
        output = form(image)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters())])
    for fast, plain in zip(*results):
        torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize('elements', [1, 2000, 1 << 20])
@pytest.mark.parametrize(('make', 'textbook'), CASES, ids=['restormer', 'restormer-biasfree', 'nafnet'])
def test_strips_give_the_same(make, textbook, elements, monkeypatch):
    torch.manual_seed(0)
    net = make().double()
    image = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    heights = []

    def always(x, factor):
        heights.append(x.shape[1])
        return True

    monkeypatch.setattr(pixelwise, 'STRIP_ELEMENTS', elements)
    for module in ('nn.restormer_blocks', 'nn.nafnet_blocks'):
        monkeypatch.setattr(f'dinoir_plugin.{module}.works_in_strips', always)
    with torch.no_grad():
        torch.testing.assert_close(net(image), textbook(net, image), rtol=1e-8, atol=1e-9)
    assert 24 in heights


def test_large_images_go_in_strips_without_gradients_only():
    x = torch.empty(1, 1024, 1024, 8)
    assert not pixelwise.works_in_strips(x, factor=2)
    with torch.no_grad():
        assert pixelwise.works_in_strips(x, factor=2)
        assert not pixelwise.works_in_strips(x[:, :64], factor=2)


def test_a_compiled_block_gives_the_same():
    torch.manual_seed(0)
    block = TransformerBlock(16, 2, 2.0, False, 'WithBias')
    x = torch.rand(2, 16, 8, 12).contiguous(memory_format=torch.channels_last)
    outputs, gradients = [], []
    for form in (block, torch.compile(block)):
        block.zero_grad()
        outputs.append(form(x))
        outputs[-1].square().sum().backward()
        gradients.append([p.grad.clone() for p in block.parameters()])
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
