import pytest
import torch

from dinoir_plugin.archs.dncnn_arch import DnCNN
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.testing.textbook.dncnn import textbook_dncnn

TINY = {'nc': 8, 'nb': 4}


def strong(**options):
    """With weights, biases and statistics that show where one of them is left out."""
    torch.manual_seed(0)
    net = DnCNN(**TINY, **options).double()
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if name.endswith('running_var') else value.normal_(0, 0.3)
    return net


def test_names_and_number_of_parameters_of_the_blind_colour_release():
    net = DnCNN(nb=20, act_mode='R')
    shapes = {}
    for index in range(0, 40, 2):
        shapes[f'model.{index}.weight'] = (3 if index == 38 else 64, 3 if index == 0 else 64, 3, 3)
        shapes[f'model.{index}.bias'] = (3 if index == 38 else 64,)
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == shapes
    assert sum(p.numel() for p in net.parameters()) == 668_227


def test_batch_norms_stand_between_convolutions_and_relus():
    kinds = [type(layer).__name__ for layer in DnCNN().model]
    assert kinds == ['Conv2d', 'ReLU', *['Conv2d', 'BatchNorm2d', 'ReLU'] * 15, 'Conv2d']


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('act_mode', ['R', 'BR'])
def test_values_and_gradients(act_mode, training):
    net = strong(act_mode=act_mode).train(training)
    image = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    results = []
    for form in (net, lambda x: textbook_dncnn(net, x)):
        net.zero_grad()
        output = form(image)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters())])
    for fast, plain in zip(*results):
        torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (1, 1)])
def test_takes_any_size(size):
    assert DnCNN(**TINY, act_mode='R')(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_state_dict_fits_strictly():
    net, other = strong(act_mode='BR').eval(), DnCNN(**TINY).double().eval()
    other.load_state_dict(net.state_dict(), strict=True)
    image = torch.rand(1, 3, 9, 12, dtype=torch.float64)
    assert torch.equal(other(image), net(image))


@pytest.mark.parametrize('act_mode', ['R', 'BR'])
def test_signal_and_gradients_come_through_all_layers_from_the_start(act_mode):
    torch.manual_seed(0)
    net = DnCNN(nc=32, nb=20, act_mode=act_mode)
    image = torch.rand(2, 3, 24, 24)
    noise = image - net(image)
    assert 0.1 < noise.std() < 10
    noise.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_is_guided_by_options_alone(encoder_options):
    net = DINOIRArch({'type': 'DnCNN', **TINY}, encoder_options, ['model.1', 'model.[47]'])
    assert net.guided == ['model.1', 'model.4', 'model.7']
    net(torch.rand(2, 3, 24, 40)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ('change', 'path', 'problem'),
    [
        ({'out_nc': 1}, 'out_nc', 'expected 3 like in_nc'),
        ({'nb': 1}, 'nb', 'at least 2 convolutions, got 1'),
        ({'act_mode': 'RB'}, 'act_mode', "there is no 'RB'"),
    ],
)
def test_arguments_that_cannot_be_built(change, path, problem):
    with pytest.raises(OptionsError) as caught:
        DnCNN(**change)
    assert caught.value.path == path
    assert problem in str(caught.value)
