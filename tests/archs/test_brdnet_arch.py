import pytest
import torch
from torch import nn

from dinoir_plugin.archs.brdnet_arch import BRDNet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.batch_renorm import BatchRenorm2d
from dinoir_plugin.testing.textbook.brdnet import textbook_brdnet
from tests.core.keras_files import from_keras

DILATED = {*range(19, 26), *range(27, 33)}


def difference(value, reference):
    return ((value - reference).abs().max() / max(1, reference.abs().max())).item()


@pytest.fixture
def authors(golden):
    """The golden network, and its inputs and outputs with channels first."""
    params, tensors = golden('brdnet')
    net = BRDNet(nc=8)
    net.load_state_dict(from_keras(params), strict=True)
    images = {key: value.double().permute(0, 3, 1, 2) for key, value in tensors.items() if key[:3] in ('inp', 'out')}
    return net.double(), images, tensors


def test_reproduces_the_authors_image(authors):
    net, images, _ = authors
    assert difference(net.eval()(images['input/0']), images['output/0']) < 1e-6


def test_reproduces_the_authors_training_step_and_what_it_leaves_behind(authors):
    net, images, tensors = authors
    assert difference(net(images['input/1']), images['output/1']) < 1e-6
    after = from_keras({key.removeprefix('after/'): v for key, v in tensors.items() if key.startswith('after/')})
    assert len(after) == 38
    for key, value in after.items():
        assert difference(net.state_dict()[key], value) < 1e-6


def test_names_and_number_of_parameters_of_the_colour_release():
    net = BRDNet()
    shapes = {}
    for number in range(1, 36):
        out, into = (3 if number in (17, 34, 35) else 64), {1: 3, 18: 3, 35: 6}.get(number, 64)
        shapes[f'conv2d_{number}.weight'] = (out, into, 3, 3)
        shapes[f'conv2d_{number}.bias'] = (out,)
    names = ('weight', 'bias', 'running_mean', 'running_var')
    shapes |= {f'batch_renormalization_{number}.{name}': (64,) for number in range(1, 20) for name in names}
    shapes |= {f'batch_renormalization_{number}.num_batches_tracked': () for number in range(1, 20)}
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == shapes
    assert {n for n in range(1, 36) if net.get_submodule(f'conv2d_{n}').dilation == (2, 2)} == DILATED
    assert sum(p.numel() for p in net.parameters()) == 1_117_483
    assert sum(p.numel() for p in BRDNet(1, 1).parameters()) == 1_112_725


@pytest.mark.parametrize('training', [False, True])
def test_values_and_gradients(training):
    torch.manual_seed(0)
    net = BRDNet(nc=4).double().train(training)
    image = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    results = []
    for output in (net(image), textbook_brdnet(net, image)):
        net.zero_grad()
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters())])
    for ours, plain in zip(*results):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-8)


def test_running_averages_are_those_of_all_batches_so_far():
    """Weighted 0.99 to the power of their age, and divided by the sum of the weights."""
    norm = BatchRenorm2d(2).double()
    batches = torch.rand(3, 4, 2, 5, 6, dtype=torch.float64) * torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1, 1, 1)
    for batch in batches:
        norm(batch)
    weights = torch.tensor([0.99**2, 0.99, 1.0], dtype=torch.float64)
    weights = (weights / weights.sum())[:, None]
    torch.testing.assert_close(norm.running_mean, (weights * batches.mean((1, 3, 4))).sum(0))
    variances = batches.var((1, 3, 4), correction=0) + 1e-3
    torch.testing.assert_close(norm.running_var, (weights * variances).sum(0))


def test_in_training_it_normalises_like_a_batch_norm():
    norm, plain = BatchRenorm2d(3), nn.BatchNorm2d(3, eps=1e-3)
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(norm(x), plain(x))


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (2, 1), (1, 1)])
def test_takes_any_size(size):
    assert BRDNet(nc=4).eval()(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_arguments_that_cannot_be_built():
    with pytest.raises(OptionsError) as caught:
        BRDNet(out_nc=1)
    assert caught.value.path == 'out_nc'
