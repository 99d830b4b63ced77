import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.daclip import ConditionalNAFNet
from tests.conftest import relative_error
from tests.methods.daclip.released_names import names_and_shapes

TINY = {'img_channel': 3, 'width': 16, 'enc_blk_nums': [1, 2], 'middle_blk_num': 1, 'dec_blk_nums': [1, 1]}


def test_reproduces_the_authors_noise(golden):
    params, tensors = golden('daclip/nafnet_time')
    net = ConditionalNAFNet(**TINY)
    net.load_state_dict(params, strict=True)
    for case in (0, 1):
        inputs = [tensors[f'input/{case}/{name}'] for name in ('xt', 'cond', 'time')]
        with torch.no_grad():
            assert relative_error(net(*inputs), tensors[f'output/{case}']) < 1e-5


def test_names_widths_and_number_of_parameters_at_the_papers_size():
    with torch.device('meta'):
        net = ConditionalNAFNet(3, 64, [1, 1, 1, 28], 1, [1, 1, 1, 1])
    digest = '3507613080500e2f2b3af2bd57e18e9e273820f25de3e1a238a774901e14b5d8'
    assert names_and_shapes(net) == (668, 76_608_387, digest)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (1, 1)])
def test_takes_any_size_and_learns_everywhere(size):
    net = ConditionalNAFNet(**TINY)
    noise = net(*torch.rand(2, 1, 3, *size), 7)
    assert noise.shape == (1, 3, *size)
    noise.square().sum().backward()
    # beta and gamma start at zero, which keeps what stands behind them without a gradient at first
    assert all(p.grad is not None for p in net.parameters())


def test_levels_have_to_match():
    with pytest.raises(OptionsError, match='dec_blk_nums: expected 2 numbers'):
        ConditionalNAFNet(enc_blk_nums=[1, 1], dec_blk_nums=[1])
