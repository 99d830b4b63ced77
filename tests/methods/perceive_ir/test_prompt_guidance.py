import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.methods.perceive_ir import PromptGuidanceModule
from dinoir_plugin.methods.perceive_ir.prompt_guidance import PromptInjector, prompt_guidance
from dinoir_plugin.methods.perceive_ir.semantic_condition import semantic_condition
from tests.methods.perceive_ir.largest_error import error, loaded


def test_reproduces_the_authors_module(golden):
    module, tensors = loaded(golden, 'pgm', PromptGuidanceModule(8, semantic_dim=20, degradation_dim=12))
    x, f, z = (tensors[f'input/{name}'].requires_grad_() for name in 'xfz')
    y = module(x, f, z)
    (y * tensors['input/cotangent']).sum().backward()
    found = dict(zip(('gamma', 'beta'), module.gamma_beta(f, z)), y=y)
    for name, value in found.items():
        assert error(value.detach(), tensors[f'output/{name}']) < 1e-5, name
    for name, tensor in zip('xfz', (x, f, z)):
        assert error(tensor.grad, tensors[f'output/grad_{name}']) < 1e-4, name


@pytest.mark.parametrize('pgm_type', ['release', 'figure'])
def test_forms_start_as_the_identity_where_that_is_asked_for(pgm_type):
    torch.manual_seed(0)
    x, f, z = torch.rand(2, 8, 5, 7).contiguous(memory_format=torch.channels_last), torch.rand(2, 20), torch.rand(2, 12)
    started = prompt_guidance(8, 20, 12, pgm_type, zero_start=True, normalise=True)
    assert torch.equal(started(x, f, z), x)
    other = prompt_guidance(8, 20, 12, pgm_type)(x, f, z)
    assert other.is_contiguous(memory_format=torch.channels_last)
    assert not torch.allclose(other, x)
    # the norm takes away how long the semantic vector is
    free = prompt_guidance(8, 20, 12, pgm_type, normalise=True)
    torch.testing.assert_close(free(x, f, z), free(x, 3 * f, z), rtol=1e-3, atol=1e-3)


def test_an_injector_takes_its_depth_and_the_code():
    module = prompt_guidance(8, 20, 12)
    x, tokens, code = torch.rand(2, 8, 4, 4), torch.rand(2, 4, 20), torch.rand(2, 12)
    guided = PromptInjector(module, 2)(x, Condition(tokens=tokens, vector=code))
    assert torch.equal(guided, module(x, tokens[:, 2], code))
    with pytest.raises(ValueError, match=r'a code as vector \(B, D\), got one without'):
        PromptInjector(module, 2)(x, Condition(tokens=tokens))
    with pytest.raises(ValueError, match=r'semantics as tokens \(B, depths, D\) or as maps, got neither'):
        PromptInjector(module, 2)(x, Condition(vector=code))


@pytest.mark.parametrize('pgm_type', ['release', 'figure'])
def test_a_map_guides_each_place_by_what_is_there(pgm_type):
    torch.manual_seed(0)
    module = prompt_guidance(8, 20, 12, pgm_type)
    x = torch.rand(2, 8, 6, 9).contiguous(memory_format=torch.channels_last)
    maps, code = torch.rand(2, 4, 20, 2, 3), torch.rand(2, 12)
    y = PromptInjector(module, 2)(x, semantic_condition(maps, code))
    assert y.is_contiguous(memory_format=torch.channels_last)
    changes = [
        torch.stack([torch.stack([module.modulation(maps[:, 2, :, i, j], code)[k] for j in range(3)], dim=-1)
                     for i in range(2)], dim=-2)
        for k in range(2)
    ]  # fmt: skip
    factor, shift = (F.interpolate(change, (6, 9), mode='bilinear') for change in changes)
    torch.testing.assert_close(y, factor * x + shift)
