"""The wrapper of several ranks, here of one: gradients are those of the network alone, and nothing warns."""

import copy
import warnings

import pytest
import torch
from torch import distributed, nn

from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.models.distributed import wrapped

NETWORKS = {
    'Restormer': lambda: Restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=0, heads=[1, 2, 4, 8]),
    'NAFNet': lambda: NAFNet(width=8, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]),
    'depthwise, not in channels_last': lambda: nn.Conv2d(3, 3, 3, groups=3),
}


@pytest.fixture
def group(tmp_path):
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('wraps', [1, 2])
def test_gradients_are_views_of_what_is_exchanged(name, wraps, group):
    torch.manual_seed(0)
    net, image = NETWORKS[name](), torch.rand(2, 3, 32, 32)
    alone = copy.deepcopy(net)
    alone(image).square().mean().backward()
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='Grad strides')
        for _ in range(wraps):
            whole = wrapped(net, torch.device('cpu'), find_unused=False)
        for _ in range(2):
            for parameter in net.parameters():
                parameter.grad = None
            whole(image).square().mean().backward()
    for own, other in zip(net.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-5, atol=1e-7)
        assert own.grad.stride() == own.stride()
    storages = {parameter.grad.untyped_storage().data_ptr() for parameter in net.parameters()}
    assert len(storages) < len(list(net.parameters()))
