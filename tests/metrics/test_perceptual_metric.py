"""LPIPS and DISTS against torchmetrics' functions and the papers' formulas; networks of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
import torchvision
from basicsr.metrics import calculate_metric
from torchmetrics.functional.image import (
    deep_image_structure_and_texture_similarity,
    learned_perceptual_image_patch_similarity,
)

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.metrics.functional import perceptual

LPIPS, VGG, DISTS = (
    {'type': 'calculate_lpips'},
    {'type': 'calculate_lpips', 'net': 'vgg'},
    {'type': 'calculate_dists'},
)
pytestmark = pytest.mark.usefixtures('weights')


def measure(options, img, img2):
    return calculate_metric({'img': img, 'img2': img2}, options)


def rgb(image):
    return torch.from_numpy(image.astype(np.float32)[..., [2, 1, 0]] / 255).permute(2, 0, 1)[None]


@pytest.mark.parametrize('options', [LPIPS, VGG, DISTS])
def test_figures_are_those_of_torchmetrics(photos, options):
    clean, _, noisy, _ = photos[0]
    with torch.no_grad():
        if options is DISTS:
            theirs = deep_image_structure_and_texture_similarity(rgb(noisy), rgb(clean))
        else:
            net = options.get('net', 'alex')
            theirs = learned_perceptual_image_patch_similarity(rgb(noisy), rgb(clean), net_type=net, normalize=True)
    assert measure(options, noisy, clean) == pytest.approx(theirs.item(), rel=1e-6)
    # and not of the floats before rounding, nor of BGR
    assert abs(measure(options, noisy[..., ::-1], clean[..., ::-1]) / theirs.item() - 1) > 1e-3


def test_lpips_of_floats_is_that_of_numbers_between_the_levels(photos):
    clean, _, noisy, _ = photos[0]
    kind = {'type': 'calculate_lpips_floats'}
    assert measure(kind, noisy, clean) == pytest.approx(measure(LPIPS, noisy, clean), rel=1e-6)
    floats = [image[..., ::-1] / np.float32(255) for image in (noisy, clean)]
    floats[0] = np.clip(floats[0] * np.float32(0.998), 0, 1)
    with torch.no_grad():
        pair = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] * 2 - 1 for image in floats]
        theirs = perceptual.lpips_network('alex')(*pair)
    assert measure(kind, *floats) == pytest.approx(theirs.item(), rel=1e-5)
    rounded = [np.rint(image[..., ::-1] * 255).astype(np.uint8) for image in floats]
    assert abs(measure(LPIPS, *rounded) / theirs.item() - 1) > 1e-5
    with pytest.raises(ValueError, match='8 bits, BGR, or of floats, RGB'):
        measure(kind, floats[0][..., 0], floats[1][..., 0])


def test_lpips_is_the_formula_of_its_paper(photos):
    """Zhang et al., eq. 1: unit features, channels weighed, squared, averaged over places, summed over layers."""
    clean, _, noisy, _ = photos[0]
    trunk = torchvision.models.alexnet(weights='DEFAULT').features
    folder = Path(torchmetrics.functional.image.__file__).parent / 'lpips_models'
    heads = torch.load(folder / 'alex.pth', map_location='cpu')
    x, y = (2 * rgb(image) - 1 for image in (noisy, clean))
    shift, scale = (torch.tensor(t).view(1, 3, 1, 1) for t in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x, y, total = (x - shift) / scale, (y - shift) / scale, 0
    with torch.no_grad():
        for number, layer in enumerate(trunk):
            x, y = layer(x), layer(y)
            if number in (1, 4, 7, 9, 11):
                head = heads[f'lin{(1, 4, 7, 9, 11).index(number)}.model.1.weight']
                difference = x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)
                total += (head * difference.square()).sum(dim=1).mean()
    assert measure(LPIPS, noisy, clean) == pytest.approx(total.item(), rel=1e-4)


@pytest.mark.parametrize('options', [LPIPS, VGG, DISTS])
def test_equal_images_are_at_zero_and_noisier_ones_further_away(photos, options):
    for clean, *copies in photos:
        assert 0 <= measure(options, clean, clean) < 1e-6
        figures = [measure(options, copy, clean) for copy in copies]
        assert 0 < figures[0] < figures[1] < figures[2]
        assert measure(options, clean, copies[1]) == pytest.approx(figures[1], rel=1e-5)
        inside = measure(options, copies[1][4:-4, 4:-4], clean[4:-4, 4:-4])
        assert measure({**options, 'crop_border': 4}, copies[1], clean) == inside


def test_a_network_is_built_once_and_draws_no_random_numbers():
    perceptual.lpips_network.cache_clear()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    network = perceptual.lpips_network('alex')
    assert torch.rand(1) == expected
    assert perceptual.lpips_network('alex') is network
    assert not any(p.requires_grad for p in network.parameters()) and not network.training
    # a copy for every other device; this one is the CPU by another name
    other = perceptual.lpips_network('alex', torch.device('cpu', 0))
    assert other is not network and other is perceptual.lpips_network('alex', torch.device('cpu', 0))
    pair = torch.rand(2, 1, 3, 40, 40)
    assert other(*pair, normalize=True) == network(*pair, normalize=True)


@pytest.mark.parametrize(
    ('options', 'shape', 'message'),
    [
        (LPIPS, (30, 40, 3), 'at least 31 pixels, got 40x30'),
        ({**LPIPS, 'crop_border': 5}, (40, 60, 3), 'got 50x30'),
        (VGG, (40, 15, 3), 'at least 16 pixels, got 15x40'),
        (DISTS, (0, 40, 3), 'at least 1 pixels, got 40x0'),
        (LPIPS, (40, 40), 'height, width, 3'),
    ],
)
def test_images_that_cannot_be_measured_are_refused(options, shape, message):
    with pytest.raises(ValueError, match=message):
        measure(options, np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_the_smallest_images_are_measured():
    for options, side in ((LPIPS, 31), (VGG, 16), (DISTS, 1)):
        black, white = np.zeros((side, side, 3), np.uint8), np.full((side, side, 3), 255, np.uint8)
        assert measure(options, white, black) > 0


def test_floats_and_different_sizes_are_refused(photos):
    clean, noisy, *_ = photos[0]
    for options in (LPIPS, DISTS):
        with pytest.raises(ValueError, match=r'8 bits, .* got .* float64'):
            measure(options, noisy / 255, clean / 255)
        with pytest.raises(ValueError, match='one size'):
            measure(options, noisy[1:], clean)
    # what BasicSR hands over beside the arguments
    assert measure({**LPIPS, 'better': 'lower'}, noisy, clean) == measure(LPIPS, noisy, clean)
    with pytest.raises(OptionsError, match=r"net: there is no LPIPS of 'vgg19'. did you mean 'vgg'"):
        measure({**LPIPS, 'net': 'vgg19'}, noisy, clean)
