import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.methods.perceive_ir import EnhancedTransformerBlock, PerceiveIR, RestormerMedium
from dinoir_plugin.methods.perceive_ir.blocks import PlainTransformerBlock
from dinoir_plugin.nn import pixelwise
from tests.methods.perceive_ir.largest_error import error, loaded

MEDIUM = {'dim': 8, 'blocks': [1, 1, 1, 2], 'heads': [1, 2, 4, 8], 'refinement_blocks': 1}
TINY = {**MEDIUM, 'semantic_dim': 24}
# parameters of the release and of two forms of the paper's figure
FORMS = [
    ({}, 33_901_111),
    ({'extra_mdta': False}, 27_859_919),
    ({'extra_mdta': False, 'pgm_type': 'figure'}, 30_601_679),
]


def vectors(tensors, case):
    return [tensors[f'input/{case}_f{number}'].requires_grad_() for number in (1, 2, 3, 4)]


@pytest.mark.parametrize('case', 'ab')
def test_reproduces_the_authors_network_and_its_gradients(case, golden):
    net, tensors = loaded(golden, 'net', PerceiveIR(**TINY))
    image, semantics = tensors[f'input/{case}_image'].requires_grad_(), vectors(tensors, case)
    given = {}
    for level, module in enumerate(net.pgm, start=1):
        module.register_forward_hook(lambda _, inputs, output, k=level: given.update(
            {f'pgm{k}_in': inputs[0], f'pgm{k}_out': output}))  # fmt: skip
    for level, stage in enumerate((net.decoder1, net.decoder2, net.decoder3, net.latent), start=1):
        stage.register_forward_hook(lambda _, inputs, output, k=level: given.update({f'stage{k}_out': output}))
    given['restored'] = net(image, semantics)
    given['code'] = net.extract_code(image)
    # the release takes the mirrored image where no second crop is given
    positive = tensors['input/a_positive'] if case == 'a' else image.flip(-1)
    given['code_positive'] = net.extract_code(positive)
    (given['restored'] * tensors[f'input/{case}_cotangent']).sum().backward()
    for name, value in given.items():
        # of the smaller case the file holds what comes out in the end
        if case == 'b' and name.startswith(('pgm', 'stage')):
            continue
        assert error(value.detach(), tensors[f'output/{case}_{name}']) < 1e-5, name
    grads = {'image': image, **{f'f{number}': vector for number, vector in enumerate(semantics, start=1)}}
    grads = {f'grad_{name}': tensor.grad for name, tensor in grads.items()}
    before = f'output/{case}_gradparam/'
    named = dict(net.named_parameters())
    names = [key.removeprefix(before) for key in tensors if key.startswith(before)]
    assert len(names) == 10
    grads.update({f'gradparam/{name}': named[name].grad for name in names})
    for name, value in grads.items():
        assert error(value, tensors[f'output/{case}_{name}']) < 1e-4, name


def test_reproduces_the_authors_blocks(golden):
    block, tensors = loaded(golden, 'etb', EnhancedTransformerBlock(8, 2))
    x, guidance = (tensors[f'input/{name}'].requires_grad_() for name in ('x', 'guidance'))
    halves = []

    def keep(module, inputs, output):
        halves.append(output.detach().permute(0, 3, 1, 2))

    block.attention.register_forward_hook(keep)
    block.mdta.register_forward_hook(keep)
    out = block(x, guidance)
    (out * tensors['input/cotangent']).sum().backward()
    assert error(halves[0], tensors['output/pgca']) < 1e-5
    assert error(halves[1], tensors['output/attention_half']) < 1e-5
    assert error(out.detach(), tensors['output/out']) < 1e-5
    assert error(x.grad, tensors['output/grad_x']) < 1e-4
    assert error(guidance.grad, tensors['output/grad_guidance']) < 1e-4

    block, tensors = loaded(golden, 'tb', PlainTransformerBlock(8, 2))
    block.attention.register_forward_hook(keep)
    assert error(block(tensors['input/x']).detach(), tensors['output/out']) < 1e-5
    assert error(halves[2], tensors['output/attention_half']) < 1e-5


@pytest.mark.parametrize(('elements', 'extra_mdta'), [(1, True), (2000, False), (1 << 20, True)])
def test_strips_give_the_same(elements, extra_mdta, monkeypatch):
    torch.manual_seed(0)
    net = PerceiveIR(**TINY, extra_mdta=extra_mdta).double().eval()
    image, semantics = torch.rand(2, 3, 24, 16).double(), torch.randn(4, 2, 24).double()
    with torch.no_grad():
        expected = net(image, semantics)
        monkeypatch.setattr(pixelwise, 'STRIP_ELEMENTS', elements)
        for module in ('nn.restormer_blocks', 'methods.perceive_ir.blocks'):
            monkeypatch.setattr(f'dinoir_plugin.{module}.works_in_strips', lambda x, factor: True)
        torch.testing.assert_close(net(image, semantics), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(('arguments', 'count'), FORMS)
def test_number_of_parameters_at_full_size(arguments, count):
    with torch.device('meta'):
        assert sum(p.numel() for p in PerceiveIR(**arguments).parameters()) == count


def test_the_medium_network_has_the_same_names_without_what_guides():
    with torch.device('meta'):
        medium, whole = RestormerMedium(), PerceiveIR()
    assert sum(p.numel() for p in medium.parameters()) == 25_571_439
    parts = [{name for name, _ in net.named_children()} for net in (whole, medium)]
    assert parts[0] - parts[1] == {'cfe', 'pgm'}
    block = set(PlainTransformerBlock(8, 1).state_dict())
    for level in ('encoder1', 'latent', 'decoder1', 'refinement'):
        assert set(medium.get_submodule(f'{level}.0').state_dict()) == block
    net = RestormerMedium(**MEDIUM)
    assert net(torch.rand(1, 3, 17, 30)).shape == (1, 3, 17, 30)


@pytest.mark.parametrize('change', [{}, {'extra_mdta': False, 'pgm_type': 'figure', 'cfe_type': 'figure'}])
@pytest.mark.parametrize('zero_start', [False, True])
def test_every_form_takes_any_size_and_learns_everywhere(change, zero_start):
    torch.manual_seed(0)
    net = PerceiveIR(**TINY, **change, zero_start=zero_start, normalise=True)
    image, semantics = torch.rand(2, 3, 17, 31), torch.randn(4, 2, 24)
    out = net(image, semantics)
    assert out.shape == image.shape
    out.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert torch.equal(net(image, -semantics), net(image, semantics)) == zero_start


def test_a_condition_holds_vectors_and_code():
    torch.manual_seed(0)
    net = PerceiveIR(**TINY)
    image, semantics = torch.rand(2, 3, 16, 24), torch.randn(2, 4, 24)
    code = net.extract_code(image)
    torch.testing.assert_close(code.norm(dim=1), torch.ones(2))
    whole = net(image, semantics.unbind(1))
    torch.testing.assert_close(net(image, condition=Condition(tokens=semantics, vector=code)), whole)
    torch.testing.assert_close(net(image, semantics.unbind(1), code), whole)
    other = net(image, semantics.unbind(1), code.flip(0))
    assert not torch.allclose(other, whole, rtol=0, atol=1e-7)
    # without vectors the code alone guides
    torch.testing.assert_close(net(image), net(image, torch.zeros(4, 2, 24)))
    torch.testing.assert_close(net(image, condition=Condition(vector=code)), net(image))


def test_maps_that_are_the_same_everywhere_guide_as_vectors():
    torch.manual_seed(0)
    net = PerceiveIR(**TINY)
    image, semantics = torch.rand(2, 3, 17, 31), torch.randn(4, 2, 24)
    flat = semantics[..., None, None].expand(-1, -1, -1, 3, 5)
    torch.testing.assert_close(net(image, flat.unbind()), net(image, semantics.unbind()), rtol=1e-4, atol=1e-4)
    other = net(image, [*flat[:3], flat[3].contiguous().index_fill(3, torch.tensor([4]), 1.0)])
    assert not torch.allclose(other, net(image, flat.unbind()), rtol=0, atol=1e-4)


def test_what_does_not_fit_is_named():
    with pytest.raises(OptionsError, match=r'heads: expected 4 numbers'):
        PerceiveIR(heads=[1, 2])
    with pytest.raises(OptionsError, match=r"heads: expected divisors of the levels' widths \[8, 16, 32, 64\]"):
        RestormerMedium(dim=8, heads=[3, 1, 1, 1])
    net = PerceiveIR(**TINY)
    with pytest.raises(ValueError, match=r'expected 4 semantic vectors \(B, 24\), or maps of them, got'):
        net(torch.rand(1, 3, 16, 16), torch.rand(3, 1, 24))
    with pytest.raises(ValueError, match=r'expected a degradation code \(B, 128\), got \(1, 64\)'):
        net(torch.rand(1, 3, 16, 16), code=torch.rand(1, 64))
    with pytest.raises(ValueError, match=r'expected 4 semantic vectors \(B, 24\), or maps of them, got'):
        net(torch.rand(1, 3, 16, 16), condition=Condition(tokens=torch.rand(1, 4, 16)))
    with pytest.raises(ValueError, match=r'expected a degradation code \(B, 128\), got \(1, 64\)'):
        net(torch.rand(1, 3, 16, 16), condition=Condition(vector=torch.rand(1, 64)))


@pytest.mark.parametrize('extra_mdta', [True, False])
def test_half_precision_stays_near(extra_mdta):
    torch.manual_seed(0)
    net = PerceiveIR(**TINY, extra_mdta=extra_mdta)
    image, semantics = torch.rand(2, 3, 16, 24), torch.randn(4, 2, 24)
    exact = net(image, semantics)
    exact.square().sum().backward()
    grads = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = net(image, semantics)
    mixed.float().square().sum().backward()
    assert error(mixed.detach().float(), exact.detach()) < 0.05
    for name, p in net.named_parameters():
        if name.endswith('temperature'):
            continue  # a small difference of large sums
        assert (p.grad - grads[name]).norm() < 0.3 * grads[name].norm() + 1e-3, name
