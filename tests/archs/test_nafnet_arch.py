import pytest
import torch

from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from tests.conftest import relative_error

GOLDEN_ARGUMENTS = {'width': 8, 'middle_blk_num': 1, 'enc_blk_nums': [1, 1, 2], 'dec_blk_nums': [1, 2, 1]}


def test_reproduces_the_authors_network(golden):
    params, tensors = golden('nafnet')
    net = NAFNet(**GOLDEN_ARGUMENTS)
    net.load_state_dict(params, strict=True)
    for index in (0, 1):
        with torch.no_grad():
            output = net(tensors[f'input/{index}'])
        assert relative_error(output, tensors[f'output/{index}']) < 1e-5


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (1, 1)])
def test_takes_any_size(size):
    assert NAFNet(**GOLDEN_ARGUMENTS)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_is_guided_by_options_alone(encoder_options):
    backbone = {'type': 'NAFNet', **GOLDEN_ARGUMENTS}
    net = DINOIRArch(backbone, encoder_options, ['encoders.*', 'middle_blks', 'decoders.*'])
    assert len(net.guided) == 7
    net(torch.rand(1, 3, 24, 40)).square().sum().backward()
    # beta and gamma start at zero, which keeps what stands behind them without a gradient at first
    assert all(p.grad is not None for p in net.parameters())


def test_what_is_left_out_is_as_the_authors_have_it():
    net = NAFNet()
    assert (net.intro.out_channels, len(net.middle_blks), len(net.encoders), len(net.decoders)) == (16, 1, 0, 0)


def test_levels_have_to_match():
    with pytest.raises(OptionsError, match='dec_blk_nums: expected 2 numbers'):
        NAFNet(enc_blk_nums=[1, 1], dec_blk_nums=[1])
