import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.methods.perceive_ir.degradation_code import code_extractor


@pytest.mark.parametrize('kind', ['release', 'figure'])
def test_codes_have_unit_length_for_any_size(kind):
    net = code_extractor(kind, 16)
    for size in ((1, 1), (17, 5), (32, 24)):
        torch.testing.assert_close(net(torch.rand(2, 3, *size)).norm(dim=1), torch.ones(2))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert net(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_the_releases_form_is_convolutions_pooling_and_one_layer():
    net, image = code_extractor('release', 16), torch.rand(1, 3, 9, 12)
    x = image
    for number in (0, 2, 4, 6):
        conv = net.body[number]
        x = F.gelu(F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1))
    torch.testing.assert_close(net(image), F.normalize(net.projection(x.flatten(2).mean(dim=2))))
