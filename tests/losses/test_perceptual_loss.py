import pytest
import torch
from basicsr.losses import build_loss
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.losses import vgg_features
from dinoir_plugin.losses.perceptual_loss import VGGPerceptualLoss


@pytest.fixture
def narrow(golden, tmp_path):
    """A file with a sixteenth of VGG16's widths."""
    torch.save(golden('vgg16_perceptual')[0], tmp_path / 'vgg.pth')
    return str(tmp_path / 'vgg.pth')


def test_reproduces_the_authors_loss_and_its_gradient(golden, narrow):
    _, tensors = golden('vgg16_perceptual')
    pred = tensors['input/0'].double().requires_grad_()
    loss = build_loss({'type': 'VGGPerceptualLoss', 'weights': narrow}).double()
    value = loss(pred, tensors['input/1'].double())
    value.backward()
    torch.testing.assert_close(value.float(), tensors['output/0'][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(pred.grad.float(), tensors['output/1'], rtol=1e-5, atol=1e-9)
    smooth = build_loss({'type': 'SmoothL1Loss'})(pred, tensors['input/1'].double())
    torch.testing.assert_close(smooth.float(), tensors['output/2'][0], rtol=1e-6, atol=0)


@pytest.mark.parametrize(('net', 'layout'), [('vgg16', 'D'), ('vgg19', 'E')])
def test_layers_are_those_of_torchvision(net, layout):
    vgg_features._state.cache_clear()  # the warning comes once in a process
    last = list(vgg_features.convolutions(net))[-1]
    with pytest.warns(UserWarning, match='random weights'):
        features = vgg_features.VGGFeatures(net, ['relu1_1', 'relu3_2', last], 'random')
    theirs = make_layers(cfgs[layout], batch_norm=False).eval()
    for name, number in vgg_features.convolutions(net).items():
        theirs[number].weight.data.copy_(getattr(features, f'{name}_weight'))
        theirs[number].bias.data.copy_(getattr(features, f'{name}_bias'))
    image = torch.rand(1, 3, 35, 50)
    with torch.no_grad():
        for layer, feature in zip(features.layers, features(image)):
            expected = theirs[: vgg_features.convolutions(net)[layer] + 2](image)
            torch.testing.assert_close(feature, expected)
            assert feature.abs().max() > 0.1


def test_weight_state_and_half_precision(narrow):
    loss, twice = VGGPerceptualLoss(weights=narrow), VGGPerceptualLoss(loss_weight=2.0, weights=narrow)
    pred, target = torch.rand(2, 1, 3, 24, 24)
    torch.testing.assert_close(twice(pred, target), 2 * loss(pred, target))
    assert loss(pred, pred) == 0
    assert not loss.state_dict() and not list(loss.parameters())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = loss(pred.bfloat16(), target)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(pred, target), rtol=0.05, atol=0)


def test_smooth_l1_is_half_the_square_below_beta():
    pred, target = torch.rand(2, 1, 3, 8, 8)
    loss = build_loss({'type': 'SmoothL1Loss', 'loss_weight': 2.0, 'beta': 0.25})
    torch.testing.assert_close(loss(pred, target), 2 * F.smooth_l1_loss(pred, target, beta=0.25))
    assert loss(pred.bfloat16(), target).dtype == torch.float32


def test_layers_and_weights_that_cannot_be_used_are_named(narrow, tmp_path, monkeypatch):
    def refusal(**options):
        with pytest.raises(OptionsError) as caught:
            VGGPerceptualLoss(**options)
        return str(caught.value)

    assert "layers: there is no 'relu3_4' in vgg16" in refusal(layers=['relu3_4'])
    assert 'layers: expected at least one layer' in refusal(layers=[])
    assert "lacks 'features.17.weight' or its bias" in refusal(layers=['relu4_1'], weights=narrow)
    state = torch.load(narrow)
    for name, change, problem in (
        ('other.pth', {'features.16.weight': torch.zeros(1)}, "weights of vgg16: it has 'features.16.weight'"),
        ('shape.pth', {'features.5.weight': torch.zeros(8, 5, 3, 3)}, "'features.5.weight' has the shape (8, 5, 3, 3)"),
    ):
        torch.save({**state, **change}, tmp_path / name)
        assert problem in refusal(weights=str(tmp_path / name))
    assert 'which is not there' in refusal(weights=str(tmp_path / 'no.pth'))
