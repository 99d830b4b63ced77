import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.guidance.method import GuidanceMethod
from dinoir_plugin.inference.padding import SizeRule, any_size, pad_for, pad_to_multiple, size_multiple, size_rule


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


@pytest.mark.parametrize(
    ('size', 'padded'), [((4, 20), (8, 24)), ((5, 8), (8, 8)), ((3, 9), (8, 16)), ((1, 1), (8, 8))]
)
def test_a_side_too_short_to_mirror_is_repeated(size, padded):
    image = torch.rand(1, 3, *size)
    result = pad_to_multiple(image, 8)
    assert result.shape == (1, 3, *padded)
    assert torch.equal(result[..., : size[0], : size[1]], image)
    mirrored = padded[0] - size[0] < size[0] and padded[1] - size[1] < size[1]
    expected = F.pad(image, (0, padded[1] - size[1], 0, padded[0] - size[0]), 'reflect' if mirrored else 'replicate')
    assert torch.equal(result, expected)


def test_what_fits_is_the_same_tensor_and_zeros_and_a_shortest_side_are_kept_to():
    image = torch.rand(1, 3, 8, 16)
    assert pad_to_multiple(image, 8) is image
    assert SizeRule(8, 16).pad(image).shape == (1, 3, 16, 16)
    assert SizeRule(8, 17).pad(image).shape == (1, 3, 24, 24)
    assert SizeRule(8, 8).pad(image) is image
    zeros = SizeRule(12, 1, 'zeros').pad(image)
    assert torch.equal(zeros, F.pad(image, (0, 8, 0, 4)))


def test_the_rule_of_a_network_is_what_it_says_or_what_is_found():
    assert size_rule(UNet()) == SizeRule(4, 1, 'mirror')
    net = blocks_of(7)
    net.size_minimum, net.pad_mode = 20, 'zeros'
    assert size_rule(net) == SizeRule(7, 20, 'zeros')
    assert pad_for(net, torch.rand(1, 3, 7, 22)).shape == (1, 3, 21, 28)


class Stages(UNet):
    """Gives the images of its stages, the final one first, as a list or as Outputs."""

    def __init__(self, kind, scale=1):
        super().__init__(scale)
        self.kind = kind

    def forward(self, x):
        image = super().forward(x)
        return self.kind(image)


@pytest.mark.parametrize('kind', [lambda image: [image, 0 * image], lambda image: Outputs(image, (0 * image,))])
@pytest.mark.parametrize('scale', [1, 2])
def test_of_several_images_the_final_one_counts(kind, scale):
    net, image = Stages(kind, scale), torch.rand(1, 3, 9, 14)
    assert size_multiple(net) == 4
    expected = net(pad_to_multiple(image, 4))[0][..., : 9 * scale, : 14 * scale]
    assert torch.equal(any_size(net, image), expected)
    net.size_multiple = 3
    assert torch.equal(any_size(net, image[..., :8, :12]), net(image[..., :8, :12])[0])


def test_what_is_no_image_is_said_in_plain_words():
    with pytest.raises(TypeError, match='expected an image'):
        any_size(Stages(lambda image: {'image': image}), torch.rand(1, 3, 8, 8))


class Nothing(GuidanceMethod):
    """Knows nothing, and changes nothing."""

    def forward(self, encodings):
        return Condition()

    def injector(self, channels):
        injector = nn.Identity()
        injector.forward = lambda feature, condition: feature
        return injector


@pytest.mark.parametrize('backbone', [NAFNet(width=4, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]), UNet()])
def test_a_guided_network_sees_the_border_that_its_backbone_sees_alone(backbone):
    torch.manual_seed(0)
    for parameter in backbone.parameters():  # NAFNet begins with blocks that do nothing
        nn.init.normal_(parameter, std=0.3)
    image = torch.rand(1, 3, 17, 30)
    alone = any_size(backbone, image)
    name = 'middle_blks' if isinstance(backbone, NAFNet) else 'up'
    assert torch.equal(GuidedArch(backbone, Nothing(), [name])(image), alone)
