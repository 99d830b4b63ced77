import pytest
import torch

from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.core.errors import OptionsError
from tests.conftest import relative_error

GOLDEN_ARGUMENTS = {
    'restormer_withbias': {
        'dim': 12, 'num_blocks': [1, 2, 1, 2], 'num_refinement_blocks': 1, 'heads': [1, 2, 2, 4],
        'ffn_expansion_factor': 2.66, 'bias': False, 'LayerNorm_type': 'WithBias',
    },
    'restormer_biasfree': {
        'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 2, 'heads': [1, 2, 4, 8],
        'ffn_expansion_factor': 2.66, 'bias': True, 'LayerNorm_type': 'BiasFree',
    },
}  # fmt: skip


@pytest.mark.parametrize('name', GOLDEN_ARGUMENTS)
def test_reproduces_the_authors_network(name, golden):
    params, tensors = golden(name)
    net = Restormer(**GOLDEN_ARGUMENTS[name])
    net.load_state_dict(params, strict=True)
    for index in (0, 1):
        with torch.no_grad():
            output = net(tensors[f'input/{index}'])
        assert relative_error(output, tensors[f'output/{index}']) < 1e-5


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (3, 40), (1, 1)])
def test_takes_any_size(size, backbone_options):
    backbone_options.pop('type')
    assert Restormer(**backbone_options)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_dual_pixel_variant(backbone_options):
    backbone_options.pop('type')
    net = Restormer(inp_channels=6, dual_pixel_task=True, **backbone_options)
    assert net(torch.rand(1, 6, 16, 24)).shape == (1, 3, 16, 24)


@pytest.mark.parametrize(
    ('change', 'path'),
    [
        ({'LayerNorm_type': 'Withbias'}, 'LayerNorm_type'),
        ({'heads': [1, 2, 4]}, 'heads'),
        ({'heads': [3, 2, 4, 8]}, 'heads'),
    ],
)
def test_arguments_that_cannot_be_built(change, path, backbone_options):
    backbone_options.pop('type')
    with pytest.raises(OptionsError) as caught:
        Restormer(**{**backbone_options, **change})
    assert caught.value.path == path
