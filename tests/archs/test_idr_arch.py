import hashlib

import pytest
import torch
from basicsr.losses import build_loss

from dinoir_plugin.archs.idr_arch import IDR, SVD
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.testing.textbook.idr import textbook_idr

TINY = {'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1, 'heads': [1, 2, 4, 8],
        'num_degra_queries': 4, 'keep_degra': 8}  # fmt: skip
# released options, number of keys, parameters, and the hash of the list of keys and shapes
RELEASED = [
    (
        {'dim': 30, 'num_blocks': [2, 3, 3, 4], 'num_refinement_blocks': 2}, 446, 12_262_448,
        '5692168c561fc213ce2e5adefbad327de01665aee229593abd4cbb5259a5c535',
    ),
    ({}, 688, 42_316_110, '4021d56044a622f9b59d600683906caa607587c69c52a41107bfe698bad8ed31'),
]  # fmt: skip
TYPED = {0: 'denoise_25', 1: 'derain', 2: 'dehaze', 3: 'deblur'}


def load(golden, **options):
    params, tensors = golden('idr')
    net = IDR(**TINY, **options)
    if options.get('stored_svd'):
        params.update({f'svd_{name}': tensors[f'svd/{name}'] for name in 'USV'})
    net.load_state_dict(params, strict=True)
    return net.double(), {key: value.double() for key, value in tensors.items()}


def error(value, reference):
    """The largest difference, in units of what float32 rounding of the stored values may come to."""
    return ((value - reference).abs().max() / (1e-6 * max(1.0, reference.abs().max().item()))).item()


@pytest.mark.parametrize(('key', 'antialias'), [('output/4', False), ('alt/antialias_true', True)])
def test_reproduces_the_authors_second_stage_with_their_singular_vectors(golden, key, antialias):
    net, tensors = load(golden, stored_svd=True, antialias=antialias)
    with torch.no_grad():
        assert error(net.eval()(tensors['input/0']), tensors[key]) < 1


@pytest.mark.parametrize(('index', 'task'), TYPED.items())
def test_reproduces_the_authors_first_stage(golden, index, task):
    net, tensors = load(golden, stage=1)
    with torch.no_grad():
        assert error(net(tensors['input/0'], [task]).image, tensors[f'output/{index}']) < 1


def test_reproduces_the_authors_losses(golden):
    net, tensors = load(golden, stage=1)
    outputs = net(tensors['input/0'], ['dehaze'])
    for index, likely in enumerate(outputs.aux['likely']):
        assert error(likely, tensors[f'stage1_dehaze/pred{index}'].flatten(1)) < 1
    batch = Batch(tensors['input/0'], tensors['input/1'])
    levels = build_loss({'type': 'IDRLevelLoss'}).of_step(outputs, batch)
    assert error(levels[None], tensors['stage1_dehaze/auxloss']) < 1
    # cross-entropy of dehaze (2) with a tenth shared out, written out
    wanted = torch.full((5,), 0.02, dtype=torch.float64)
    wanted[2] += 0.9
    entropies = [-(wanted * likely.log_softmax(dim=1)).sum() for likely in outputs.aux['likely']]
    types = build_loss({'type': 'IDRTypeLoss'}).of_step(outputs, batch)
    torch.testing.assert_close(types, 0.01 * sum(entropies))


@pytest.mark.parametrize(('options', 'keys', 'count', 'digest'), RELEASED)
def test_names_widths_and_number_of_parameters_of_the_releases(options, keys, count, digest):
    with torch.device('meta'):
        net = IDR(**options)
    lines = [f'{key}\t{"x".join(map(str, value.shape))}' for key, value in net.state_dict().items()]
    assert len(lines) == keys
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == digest
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize('types', [None, ('dehaze', 'denoise'), ('deblur', 'deblur')])
def test_values_and_gradients_are_those_of_the_plain_form(types):
    torch.manual_seed(0)
    net = IDR(**TINY, stage=1 if types else 2).double()
    image = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    results = []
    for form in (lambda: net(image, types or ()), lambda: textbook_idr(net, image, types)):
        net.zero_grad()
        outputs = form()
        parts = [outputs.image, *outputs.aux['restored'], *outputs.aux['likely']]
        sum(part.square().sum() for part in parts).backward()
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in net.parameters()]
        results.append([*(part.detach() for part in parts), *(grad.clone() for grad in grads)])
    for ours, plain in zip(*results):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize('stage', [1, 2])
def test_every_parameter_that_learns_has_a_gradient_in_both_stages(stage):
    """Others may be zeros, which is what processes wait for."""
    torch.manual_seed(0)
    net = IDR(**TINY, stage=stage)
    net(torch.rand(2, 3, 16, 16), ['denoise', 'denoise']).image.square().sum().backward()
    missing = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    still = net.degra_key if stage == 2 else net.dmixer.convU.weight
    assert not still.grad.any()
    assert all(('attn.qkv' in name or 'attn.temperature' in name) and name.startswith('kdp')
               for name, p in net.named_parameters() if not p.requires_grad)  # fmt: skip


def test_images_of_a_batch_take_the_routes_of_their_tasks():
    torch.manual_seed(0)
    net = IDR(**TINY, stage=1).double()
    images = torch.rand(4, 3, 16, 24, dtype=torch.float64)
    tasks = ['deblur', 'denoise', 'dehaze', 'derain']
    together = net(images, tasks).image
    for image, task, restored in zip(images, tasks, together):
        torch.testing.assert_close(net(image[None], [task]).image[0], restored)


def test_signs_of_singular_vectors_are_fixed():
    torch.manual_seed(0)
    net = IDR(**TINY)
    left, values, right = net._decomposed()
    torch.testing.assert_close(left * values[:, None] @ right.mT, net.degra_key.detach(), rtol=1e-4, atol=1e-5)
    largest = right.gather(1, right.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()
    single = net.eval()(torch.ones(1, 3, 16, 16))
    double = net.double().eval()(torch.ones(1, 3, 16, 16, dtype=torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


def test_evaluation_follows_the_keys_that_are_loaded_or_learned():
    torch.manual_seed(0)
    net, other = IDR(**TINY).eval(), IDR(**TINY)
    image = torch.rand(1, 3, 16, 16)
    before = net(image)
    net.load_state_dict(other.state_dict())
    assert not torch.equal(net(image), before)
    assert torch.equal(net(image), other.eval()(image))
    other.train()
    other.degra_key.data.neg_().add_(0.1)
    assert not torch.equal(other.eval()(image), net(image))


def test_stored_singular_vectors_are_in_the_state_dict_and_stay_as_they_are():
    net, plain = IDR(**TINY, stored_svd=True), IDR(**TINY)
    assert set(net.state_dict()) - set(plain.state_dict()) == set(SVD)
    turned = net.state_dict()
    turned['svd_U'] = -turned['svd_U']
    net.load_state_dict(turned)
    assert torch.equal(net.eval().svd_U, turned['svd_U'])
    with pytest.raises(OptionsError, match='stage 1, which trains the keys'):
        net.enter_stage(1)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (3, 40), (1, 1)])
def test_takes_any_size(size):
    image = torch.rand(2, 3, *size)
    assert IDR(**TINY)(image).image.shape == image.shape
    assert IDR(**TINY).eval()(image).shape == image.shape


def test_tasks_of_the_first_stage():
    net = IDR(**TINY, stage=1, types={'fog': 'dehaze'})
    image = torch.rand(2, 3, 16, 16)
    assert net(image, ['fog', 'lowlight2']).aux['types'].tolist() == [2, 4]
    with pytest.raises(ValueError, match=r"the task 'snow' begins with none of denoise.*network_g\.types"):
        net(image, ['fog', 'snow'])
    with pytest.raises(ValueError, match='expected a task for each of 2 images'):
        net(image)


@pytest.mark.parametrize(
    ('change', 'path'),
    [
        ({'pred': False}, 'pred'),
        ({'sam': False}, 'sam'),
        ({'degra_type': 4}, 'degra_type'),
        ({'ops_type': 3}, 'ops_type'),
        ({'types': {'fog': 'haze'}}, 'types.fog'),
        ({'num_degra_queries': 65}, 'num_degra_queries'),
        ({'inp_channels': 1, 'out_channels': 1}, 'inp_channels'),
        ({'stage': 1, 'stored_svd': True}, 'stored_svd'),
    ],
)
def test_arguments_that_cannot_be_built(change, path):
    with pytest.raises(OptionsError) as caught:
        IDR(**{**TINY, **change})
    assert caught.value.path == path


@pytest.mark.parametrize('name', ['IDRLevelLoss', 'IDRTypeLoss'])
def test_losses_say_which_network_they_are_for(name):
    image = torch.rand(1, 3, 8, 8)
    outputs = IDR(**TINY)(image)
    loss = build_loss({'type': name})
    with pytest.raises(ValueError, match=f'{name} is for .*IDR'):
        loss.of_step(outputs._replace(aux={}), Batch(image, image))
