import pytest
import torch

import basicsr  # noqa: F401, isort: skip - fills the registries
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from dinoir_plugin.nn.local_statistics import use_local_statistics
from dinoir_plugin.nn.restormer_blocks import Attention, LayerNorm


def strong(net):
    torch.manual_seed(0)
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.3)
    return net.eval().requires_grad_(False).double()


NETWORKS = {
    'restormer': lambda: Restormer(dim=8, num_blocks=[1] * 4, num_refinement_blocks=1, heads=[1, 2, 4, 8]),
    'nafnet': lambda: NAFNet(width=4, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_windows_as_large_as_the_image_change_nothing_and_smaller_ones_do(name):
    net, image = strong(NETWORKS[name]()), torch.rand(2, 3, 72, 96, dtype=torch.float64)
    whole = net(image)
    assert use_local_statistics(net, 96) > 0
    torch.testing.assert_close(net(image), whole, rtol=1e-9, atol=1e-9)
    use_local_statistics(net, 32)
    assert (net(image) - whole).abs().max() > 1e-4
    use_local_statistics(net, None)
    assert torch.equal(net(image), whole)


@pytest.mark.parametrize('name', NETWORKS)
def test_what_is_far_away_does_not_count(name):
    """A change of one corner reaches the other one through global sums only."""
    net = strong(NETWORKS[name]())
    image = torch.rand(1, 3, 64, 512, dtype=torch.float64)
    changed = image.clone()
    changed[..., -40:] = 0
    corner = (..., slice(0, 40))
    assert (net(image) - net(changed))[corner].abs().max() > 1e-6
    use_local_statistics(net, 64)
    torch.testing.assert_close(net(image)[corner], net(changed)[corner], rtol=0, atol=1e-12)


def test_a_window_attends_as_a_image_of_its_own_would():
    torch.manual_seed(0)
    attention, norm = strong(Attention(8, 2, bias=False)), LayerNorm(8, 'WithBias').double()
    # without the surroundings that the depthwise convolution sees
    attention.qkv_dwconv.weight[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    feature = torch.rand(1, 16, 64, 8, dtype=torch.float64)
    with torch.no_grad():
        attention.window_share = (1.0, 0.25)
        local = attention(feature, norm)
        attention.window_share = None
        # the tiles of 16 overlap by 4; the first one alone counts in its first 12 columns but for the fading
        torch.testing.assert_close(local[:, :, :12], attention(feature[:, :, :16], norm)[:, :, :12])


@pytest.mark.parametrize('attention', ['cosine', 'sqrt_channels'])
def test_a_tile_is_guided_by_its_share_of_the_image(attention):
    """The matrix of a window equals that of the whole guide, upsampled and cut out."""
    from torch.nn import functional as F

    fusion = strong(DRFusion(6, 5, attention))
    guide, image = torch.rand(1, 5, 7, 9, dtype=torch.float64), (64, 96)
    window = Tile(24, 40, 32, 48, *image)
    for stride in (1, 2, 8):
        fine = [side // stride for side in image]
        tile = torch.rand(1, 6, window.height // stride, window.width // stride, dtype=torch.float64)
        upsampled = F.interpolate(guide, size=fine, mode='bilinear', align_corners=False)
        top, left = window.top // stride, window.left // stride
        cut = upsampled[..., top : top + tile.shape[2], left : left + tile.shape[3]]
        guided = fusion(tile, Condition({'guide': guide}).crop(window))
        torch.testing.assert_close(guided, fusion(tile, cut), rtol=1e-9, atol=1e-9)
    whole = torch.rand(1, 6, 32, 48, dtype=torch.float64)
    everything = Condition({'guide': guide}).crop(Tile(0, 0, *image, *image))
    torch.testing.assert_close(fusion(whole, everything), fusion(whole, guide))
