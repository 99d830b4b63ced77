import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.daclip import IRSDE, ConditionalUNet
from dinoir_plugin.testing.textbook.conditional_unet import textbook_conditional_unet
from tests.conftest import relative_error
from tests.methods.daclip.released_names import names_and_shapes

TINY = {'nf': 32, 'ch_mult': [1, 1, 1, 2], 'context_dim': 24, 'use_image_context': True}
WILD = {**TINY, 'ch_mult': [1, 1, 1], 'use_degra_context': False, 'scale': 0.5}
SINGLE_TASK = {**TINY, 'ch_mult': [1, 1, 1, 1], 'use_degra_context': False}
# tensors, parameters, and the digest of the list in the facts about the release
FULL = {'ch_mult': [1, 2, 4, 8], 'use_image_context': True}
RELEASED = [
    (FULL, 224, 48_975_747, '8d26f55ac249d7277bf8041ed30e2757c9fd3753bf9bb4c14e57e62c29352996'),
    ({**FULL, 'context_dim': 768, 'use_degra_context': False, 'scale': 0.5}, 221, 49_470_467,
     '5de631e1c925942ca6d87a8bd3b5eb784b7a78f9dfa95484ce48e1b420e85173'),
]  # fmt: skip
# queries and keys of attention to one token, and the norm before them
WITHOUT_EFFECT = ('attn2.to_q.weight', 'attn2.to_k.weight', 'norm2.weight', 'norm2.bias')


def filled(arguments):
    """Build a network in which nothing that starts at zero is left there."""
    torch.manual_seed(0)
    net = ConditionalUNet(**arguments)
    for name, parameter in net.named_parameters():
        if 'proj_out' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def loaded(golden, name, arguments):
    params, tensors = golden(f'daclip/{name}')
    net = ConditionalUNet(**arguments)
    net.load_state_dict(params, strict=True)
    return net.eval(), tensors


@pytest.mark.parametrize(('name', 'arguments', 'cases'), [
    ('unet', TINY, 3), ('unet_single_task', SINGLE_TASK, 1), ('unet_wild', WILD, 1),
])  # fmt: skip
def test_reproduces_the_authors_noise(name, arguments, cases, golden):
    net, tensors = loaded(golden, name, arguments)
    for case in range(cases):
        before = f'input/{case}/'
        inputs = {key.removeprefix(before): value for key, value in tensors.items() if key.startswith(before)}
        with torch.no_grad():
            assert relative_error(net(**inputs), tensors[f'output/{case}']) < 1e-5


@pytest.mark.parametrize(('kind', 'tolerance'), [('sde', 1e-5), ('posterior', 1e-4)])
def test_reproduces_the_authors_last_steps(kind, tolerance, golden):
    net, _ = loaded(golden, 'unet', TINY)
    tensors = golden('daclip/irsde')[1]
    sde = IRSDE()
    mu, x, degradation, content = (
        tensors[f'input/unet/{name}'] for name in ('mu', 'xT', 'text_context', 'image_context')
    )
    for t, noise in zip((4, 3, 2, 1), tensors['input/unet/noise']):
        with torch.no_grad():
            x = sde.step(kind, x, mu, net(x, mu, t, degradation, content), t, noise)
    assert relative_error(x, tensors[f'output/unet/reverse_{kind}']) < tolerance


@pytest.mark.parametrize(('arguments', 'keys', 'count', 'digest'), RELEASED, ids=['universal', 'wild'])
def test_names_widths_and_number_of_parameters_of_the_releases(arguments, keys, count, digest):
    with torch.device('meta'):
        assert names_and_shapes(ConditionalUNet(**arguments)) == (keys, count, digest)


@pytest.mark.parametrize('arguments', [TINY, WILD, {**TINY, 'use_image_context': False}],
                         ids=['universal', 'wild', 'linear'])  # fmt: skip
def test_values_and_gradients_are_the_textbooks(arguments):
    net = filled(arguments).double()
    images, contexts = torch.rand(2, 2, 3, 16, 16).double(), torch.randn(2, 2, 24).double()
    inputs = (*images, torch.tensor([3.0, 90.0]).double(), *contexts)
    results = []
    for form in (net, lambda *given: textbook_conditional_unet(net, *given)):
        net.zero_grad()
        output = form(*inputs)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters() if p.requires_grad)])
    for fast, plain in zip(*results):
        torch.testing.assert_close(fast, plain, rtol=1e-7, atol=1e-9)
    still = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert all(name.endswith(WITHOUT_EFFECT) for name in still)
    # on the way down, in the middle, on the way up
    assert len(still) == arguments['use_image_context'] * 3 * len(WITHOUT_EFFECT)


@pytest.mark.parametrize('size', [(16, 16), (33, 18), (5, 3), (1, 1)])
def test_takes_any_size_and_one_image(size):
    net = ConditionalUNet(**{**WILD, 'nf': 64, 'ch_mult': [1, 1]})
    images = torch.rand(2, 1, 3, *size)
    with torch.no_grad():
        noise = net(*images, 7, image_context=torch.rand(1, 24))
        assert noise.shape == (1, 3, *size)
        assert net(*images, torch.tensor([7]), None, torch.zeros(1, 24)).shape == noise.shape


def test_norms_keep_their_digits_in_half_precision():
    net, images, contexts = filled(TINY), torch.rand(2, 1, 3, 16, 16), torch.randn(2, 1, 24)
    with torch.no_grad():
        noise = net(*images, 50, *contexts)
        with torch.autocast('cpu', torch.bfloat16):
            mixed = net(*images, 50, *contexts)
        half = net.to(torch.bfloat16)(*images.bfloat16(), 50, *contexts.bfloat16())
    assert half.dtype == torch.bfloat16
    for found in (mixed, half):
        assert relative_error(found.float(), noise) < 0.05


def test_starts_without_a_word_from_the_content():
    net = ConditionalUNet(**TINY)
    images, degradation = torch.rand(2, 1, 3, 16, 16), torch.rand(1, 24)
    with torch.no_grad():
        assert torch.equal(*(net(*images, 5, degradation, content) for content in torch.randn(2, 1, 24)))
        assert not torch.equal(*(net(*images, 5, word, degradation) for word in torch.randn(2, 1, 24)))


def test_says_what_cannot_be_built_or_is_missing():
    with pytest.raises(OptionsError, match='scale: expected 1 or 0'):
        ConditionalUNet(scale=2)
    with pytest.raises(OptionsError, match=r'nf: expected widths that 32 divides .*, got 48'):
        ConditionalUNet(nf=48, ch_mult=[1], use_image_context=True)
    net = ConditionalUNet(**TINY)
    with pytest.raises(ValueError, match=r'image_context: expected \(B, 24\), since use_image_context is true, got'):
        net(*torch.rand(2, 1, 3, 16, 16), 5)
