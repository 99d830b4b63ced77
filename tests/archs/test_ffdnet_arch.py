import numpy as np
import pytest
import torch
from skimage import data
from skimage.restoration import estimate_sigma as estimate_sigma_of_skimage

from dinoir_plugin.archs.ffdnet_arch import FFDNet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.nn.noise_level import estimate_sigma
from dinoir_plugin.testing.textbook.ffdnet import textbook_ffdnet, textbook_sigma
from tests.exporting import exported

TINY = {'nc': 8, 'nb': 3}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return FFDNet(**TINY)


def noisy(name, sigma):
    """(H, W, 3) in [0, 1] but for the noise, whose level is ``sigma`` of 255."""
    single = getattr(data, name)() / 255
    return single + np.random.default_rng(0).normal(0, sigma / 255, single.shape)


def as_batch(*images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def test_names_and_number_of_parameters_of_the_colour_release():
    net = FFDNet()
    shapes = {}
    for index in range(0, 24, 2):
        shapes[f'model.{index}.weight'] = (12 if index == 22 else 96, 13 if index == 0 else 96, 3, 3)
        shapes[f'model.{index}.bias'] = (12 if index == 22 else 96,)
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == shapes
    assert sum(p.numel() for p in net.parameters()) == 852_108


@pytest.mark.parametrize('act_mode', ['R', 'BR'])
def test_values_and_gradients(act_mode):
    torch.manual_seed(0)
    net = FFDNet(**TINY, act_mode=act_mode).double()
    image, sigma = torch.rand(2, 3, 10, 16, dtype=torch.float64), torch.tensor([0.1, 0.3])
    results = []
    for output in (net(image, sigma), textbook_ffdnet(net, image, sigma.tolist())):
        net.zero_grad()
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters())])
    for fast, plain in zip(*results):
        # the levels given are float32
        torch.testing.assert_close(fast, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (2, 1), (1, 1)])
def test_takes_any_size(size, net):
    assert net(torch.rand(1, 3, *size)).shape == (1, 3, *size)
    assert net(torch.rand(1, 3, *size), 0.1).shape == (1, 3, *size)


def test_state_dict_fits_strictly(net):
    other = FFDNet(**TINY)
    other.load_state_dict(net.state_dict(), strict=True)
    image = torch.rand(1, 3, 9, 12)
    assert torch.equal(other(image), net(image))


def test_gradients_reach_everything(net):
    net(torch.rand(2, 3, 24, 24)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize('size', [(64, 48), (63, 47), (2, 3)])
def test_estimate_is_the_textbooks(size):
    generator = np.random.default_rng(0)
    images = [generator.normal(0.5, level, (*size, 3)) for level in (0.01, 0.1, 0.2)]
    images[1][: size[0] // 3] = 1  # saturated
    images[2][..., 1] = 0  # black in green
    expected = [textbook_sigma(single) for single in images]
    np.testing.assert_allclose(estimate_sigma(as_batch(*images)), expected, rtol=1e-9)


@pytest.mark.parametrize('name', ['astronaut', 'chelsea', 'coffee'])
def test_estimate_agrees_with_skimage_and_with_what_was_added(name):
    for sigma in (15, 25, 50):
        single = noisy(name, sigma)
        estimate = estimate_sigma(as_batch(single)).item()
        # that one takes the details of the wavelet db2, which sees a little less of the image's own edges than Haar
        of_skimage = estimate_sigma_of_skimage(single, channel_axis=-1, average_sigmas=True)
        assert estimate == pytest.approx(of_skimage, rel=0.03)
        assert estimate == pytest.approx(sigma / 255, rel=0.12)


def test_estimate_of_images_without_noise():
    assert estimate_sigma(torch.full((2, 3, 8, 8), 0.3)).tolist() == [0, 0]
    assert estimate_sigma(torch.zeros(1, 1, 2, 2)).tolist() == [0]


def test_estimate_keeps_its_digits_and_gives_no_gradient():
    image = torch.rand(1, 3, 32, 32)
    assert estimate_sigma(image.bfloat16()).dtype == torch.float32
    assert not estimate_sigma(image.requires_grad_()).requires_grad


def test_what_is_not_told_is_estimated_for_each_image(net):
    crops = [noisy('astronaut', sigma)[:65, :90] for sigma in (15, 50)]
    image = as_batch(*crops).float()
    alone = [net(single[None]) for single in image]
    torch.testing.assert_close(net(image), torch.cat(alone))
    even = image[:, :, :64]
    torch.testing.assert_close(net(even), net(even, estimate_sigma(even)))
    torch.testing.assert_close(net(image, 0.1), net(image, torch.tensor([0.1, 0.1])))
    assert not torch.allclose(net(image, 0.1), net(image, 0.2))


@pytest.mark.parametrize('sigma', [25, -0.1, float('nan'), torch.tensor(0.1), torch.tensor([0.1, 0.1, 0.1])])
def test_levels_that_cannot_be(net, sigma):
    with pytest.raises(ValueError, match='expected a sigma'):
        net(torch.rand(2, 3, 8, 8), sigma)


@pytest.mark.parametrize('ending', ['onnx', 'pt2'])
def test_exported_for_any_size_with_the_estimate(net, ending, tmp_path):
    run = exported(net, {'type': 'FFDNet', **TINY}, tmp_path, ending)
    for size in ((32, 33), (77, 130)):
        image = as_batch(noisy('chelsea', 25)[: size[0], : size[1]]).float()
        image[:, :, :12] = 1
        torch.testing.assert_close(run(image), net(image), rtol=0, atol=1e-5)


def test_is_guided_by_options_alone(encoder_options):
    net = DINOIRArch({'type': 'FFDNet', **TINY}, encoder_options, ['model.[13]'])
    assert net.guided == ['model.1', 'model.3']
    net(torch.rand(1, 3, 25, 40)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(('change', 'path'), [({'nb': 1}, 'nb'), ({'act_mode': 'L'}, 'act_mode')])
def test_arguments_that_cannot_be_built(change, path):
    with pytest.raises(OptionsError) as caught:
        FFDNet(**change)
    assert caught.value.path == path
