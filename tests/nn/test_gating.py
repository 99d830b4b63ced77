"""The gated projection against its three operations."""

import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.nn import gating
from dinoir_plugin.nn.gating import gate, gated_projection


@pytest.mark.parametrize('biased', [False, True])
@pytest.mark.parametrize('pixels', [1, 4, 7, 1000])
def test_values_and_gradients_are_those_of_the_plain_form(biased, pixels, monkeypatch):
    """Also where the 30 pixels are computed in parts, the last of them smaller."""
    torch.manual_seed(0)
    monkeypatch.setattr(gating, 'PART_ELEMENTS', 12 * pixels)
    hidden = torch.randn(2, 3, 5, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True) if biased else None
    residual = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    inputs = [hidden, weight, residual, *([bias] if biased else [])]
    gates, values = hidden.chunk(2, dim=-1)
    expected = residual + F.linear(F.gelu(gates) * values, weight, bias)
    out = gated_projection(hidden, weight, bias, residual)
    torch.testing.assert_close(out, expected)
    direction = torch.randn_like(expected)
    gradients = (torch.autograd.grad(result, inputs, direction) for result in (out, expected))
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(gate(hidden.detach()), (F.gelu(gates) * values).detach())


@pytest.mark.parametrize('pixels', [1, 1000])
def test_weights_follow_the_type_of_the_feature(pixels, monkeypatch):
    monkeypatch.setattr(gating, 'PART_ELEMENTS', 8 * pixels)
    hidden, weight = torch.randn(2, 8).bfloat16().requires_grad_(), torch.randn(3, 4, requires_grad=True)
    out = gated_projection(hidden, weight, torch.randn(3), torch.randn(2, 3))
    assert out.dtype == torch.bfloat16 and out.shape == (2, 3)
    out.sum().backward()
    assert hidden.grad.dtype == torch.bfloat16 and weight.grad.dtype == torch.float32


def test_what_follows_may_change_the_result_in_place():
    hidden, weight = torch.rand(1, 2, 3, 8, requires_grad=True), torch.rand(5, 4, requires_grad=True)
    out = gated_projection(hidden, weight, None, torch.rand(1, 2, 3, 5))
    torch.relu_(out).sum().backward()
    assert hidden.grad.abs().sum() > 0
