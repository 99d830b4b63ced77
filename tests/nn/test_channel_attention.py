"""Channel attention in both forms, and as a compiler sees it, against the equation."""

import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.nn import attention_of_all
from dinoir_plugin.nn.attention_by_head import by_head
from dinoir_plugin.nn.attention_of_all import of_all
from dinoir_plugin.nn.channel_attention import channel_attention


def equation(qkv, temperature, projection, residual):
    q, k, v = (x.unflatten(-1, (len(temperature), -1)).permute(0, 2, 3, 1) for x in qkv.chunk(3, dim=-1))
    matrix = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * temperature).softmax(dim=-1)
    return residual + (matrix @ v).flatten(1, 2).mT @ projection.T


def inputs(heads, dtype=torch.float64, pixels=15):
    torch.manual_seed(0)
    shapes = [(2, pixels, 24), (heads, 1, 1), (5, 8), (2, pixels, 5)]
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize('heads', [1, 2, 4])
@pytest.mark.parametrize('form', [by_head, of_all, attention_of_all._plain])
def test_values_and_gradients_are_those_of_the_equation(form, heads):
    given = inputs(heads)
    out, expected = form(*given), equation(*given)
    torch.testing.assert_close(out, expected)
    direction = torch.randn_like(expected)
    for one, other in zip(*(torch.autograd.grad(result, given, direction) for result in (out, expected))):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 0.01), (torch.bfloat16, 0.06)])
def test_half_precision_holds_sums_over_a_million_pixels(dtype, tolerance):
    qkv, temperature, projection, residual = inputs(2, torch.float32, pixels=1 << 20)
    with torch.no_grad():
        exact = equation(*(x.double() for x in (qkv * 4, temperature, projection, residual)))
        out = channel_attention((qkv * 4).to(dtype), temperature, projection, residual.to(dtype))
    assert out.dtype == dtype
    assert float((out.double() - exact).abs().max() / exact.abs().max()) < tolerance


def test_a_channel_without_anything_has_gradients():
    qkv, *others = inputs(2)
    empty = (qkv.detach() * (torch.arange(24) > 0)).requires_grad_()
    out = of_all(empty, *others)
    assert torch.autograd.grad(out.sum(), empty)[0].isfinite().all()
