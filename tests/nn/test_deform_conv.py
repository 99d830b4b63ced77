import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from dinoir_plugin.nn.deform_conv import modulated_deform_conv


def parts(side=3, spread=4.0):
    """Input, offsets of several pixels, also beyond the borders, mask and weight."""
    torch.manual_seed(0)
    x = torch.rand(2, 4, 9, 11, dtype=torch.float64, requires_grad=True)
    offset = (spread * torch.randn(2, 2 * side**2, 9, 11, dtype=torch.float64)).requires_grad_()
    mask = torch.rand(2, side**2, 9, 11, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, side, side, dtype=torch.float64, requires_grad=True)
    return x, offset, mask, weight


def by_torchvision(x, offset, mask, weight):
    return deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=mask)


@pytest.mark.parametrize('side', [1, 3, 5])
def test_it_is_torchvisions_operator_in_values_and_gradients(side):
    results = []
    for form in (modulated_deform_conv, by_torchvision):
        given = parts(side)
        out = form(*given)
        results.append([out.detach(), *torch.autograd.grad(out.square().sum(), given)])
    for first, second in zip(*results):
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-8)


def test_without_offsets_it_is_a_convolution():
    x, offset, mask, weight = parts(spread=0.0)
    out = modulated_deform_conv(x, offset, torch.ones_like(mask), weight)
    torch.testing.assert_close(out, F.conv2d(x, weight, padding=1))


def test_offsets_go_down_first_and_then_right():
    x, offset, mask, weight = parts(side=1, spread=0.0)
    with torch.no_grad():
        offset[:, 0], offset[:, 1] = 2, -1
        out = modulated_deform_conv(x, offset, torch.ones_like(mask), weight)
        moved = F.pad(x, (1, 0, 0, 2))[..., 2:, :-1]
        torch.testing.assert_close(out, F.conv2d(moved, weight))


def test_without_gradients_it_is_the_same():
    given = parts()
    with torch.no_grad():
        torch.testing.assert_close(modulated_deform_conv(*given), by_torchvision(*given))


def test_half_precision_is_kept_out():
    x, offset, mask, weight = (part.detach().float() for part in parts())
    with torch.autocast('cpu', torch.bfloat16):
        out = modulated_deform_conv(x.bfloat16(), offset.bfloat16(), mask.bfloat16(), weight)
    assert out.dtype == torch.bfloat16
    expected = modulated_deform_conv(x.bfloat16().float(), offset.bfloat16().float(), mask.bfloat16().float(), weight)
    torch.testing.assert_close(out.float(), expected, rtol=1e-2, atol=1e-2)
