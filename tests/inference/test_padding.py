import pytest
import torch
from torch import nn

from dinoir_plugin.inference.padding import any_size, size_multiple


class UNet(nn.Module):
    """Two halvings; what comes up joins what went down, which sides that 4 does not divide forbid."""

    def __init__(self, scale=1):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(2))
        self.up = nn.Upsample(scale_factor=scale)

    def forward(self, x):
        small = self.down[0](x)
        smaller = self.down[1](small)
        return self.up(x + nn.functional.interpolate(small + smaller.repeat(1, 1, 2, 2), scale_factor=2))


class Fixed(nn.Linear):
    """Takes 10 columns only."""


def blocks_of(side):
    return nn.Sequential(nn.PixelUnshuffle(side), nn.PixelShuffle(side))


@pytest.mark.parametrize(('network', 'multiple'), [(nn.Conv2d(3, 3, 3, padding=1), 1), (UNet(), 4), (UNet(3), 4),
                                                   (blocks_of(16), 16), (blocks_of(7), 7), (blocks_of(12), 12),
                                                   (nn.Sequential(UNet(), blocks_of(7)), 28),
                                                   (Fixed(10, 10), 1)])  # fmt: skip
def test_what_a_network_takes_is_found_by_trial(network, multiple):
    assert size_multiple(network) == multiple
    assert all(p.device.type == 'cpu' for p in network.parameters())


@pytest.mark.parametrize('size', [(8, 12), (9, 14), (1, 3), (31, 5)])
@pytest.mark.parametrize('scale', [1, 2])
def test_any_size_is_taken_and_kept(size, scale):
    torch.manual_seed(0)
    net, image = UNet(scale), torch.rand(2, 3, *size)
    restored = any_size(net, image)
    assert restored.shape == (2, 3, size[0] * scale, size[1] * scale)
    if size == (8, 12):
        assert torch.equal(restored, net(image))
    assert torch.equal(any_size(blocks_of(7), image), image)


def test_networks_that_pad_themselves_are_left_to_it():
    net = nn.Conv2d(3, 3, 3, padding=1)
    net.size_multiple = 8
    seen = []
    net.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    any_size(net, torch.rand(1, 3, 9, 9))
    assert seen == [(1, 3, 9, 9)]
