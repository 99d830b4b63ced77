"""The figures of features: their numbers against independent computations, and that the files are there."""

import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from torch.nn import functional as F

from dinoir_plugin.data.degradations import GaussianBlur, GaussianNoise
from dinoir_plugin.experiments import feature_figures as figures
from dinoir_plugin.experiments import features
from dinoir_plugin.experiments.wording import encoder_text
from dinoir_plugin.testing.project import TINY_ENCODER

pytestmark = pytest.mark.filterwarnings('ignore:The encoder:UserWarning')

CONVOLUTIONAL = {
    'name': 'resnet18', 'weights': 'random', 'layers': {'shallow': 0, 'medium': 1, 'deep': 2},
}  # fmt: skip
SIGMAS = (5, 20, 50)


@pytest.fixture(scope='module')
def images():
    return [data.astronaut()[:90, 180:300], data.coffee()[100:200, 200:300]]


@pytest.fixture(scope='module')
def probe():
    return features.Probe(copy.deepcopy(TINY_ENCODER))


@pytest.fixture(scope='module')
def curves(probe, images):
    return features.over_noise(probe, images, SIGMAS)


def noisy(probe, photo, sigma, seed):
    """The middle of an image, and with noise; by hand."""
    rows, columns = (slice((side % 14) // 2, (side % 14) // 2 + side // 14 * 14) for side in photo.shape[:2])
    clean = photo[rows, columns] / np.float32(255)
    noise = np.random.default_rng(seed)
    noise.uniform()  # the level is drawn first
    degraded = clean + noise.standard_normal(clean.shape, dtype=np.float32) * np.float32(sigma / 255)
    return clean, (np.clip(degraded, 0, 1) * 255).round() / 255


def test_psnr_of_the_image_is_that_of_scikit_image(probe, images, curves):
    for number, sigma in enumerate(SIGMAS):
        expected = []
        for seed, photo in enumerate(images):
            clean, degraded = noisy(probe, photo, sigma, seed)
            expected.append(peak_signal_noise_ratio(clean.astype(float), degraded, data_range=np.ptp(clean)))
        assert curves['image'].psnr[number] == pytest.approx(np.mean(expected), abs=1e-4)


def test_patch_embedding_is_the_first_convolution_of_the_normalised_image(probe, images, curves):
    layer = probe.encoder.model.patch_embed.proj
    expected = []
    for seed, photo in enumerate(images):
        clean, degraded = (
            F.conv2d((torch.as_tensor(image).permute(2, 0, 1)[None].double() - probe.encoder.mean) / probe.encoder.std,
                     layer.weight.double(), layer.bias.double(), layer.stride).numpy()
            for image in noisy(probe, photo, 20, seed)
        )  # fmt: skip
        expected.append(10 * np.log10(np.ptp(clean) ** 2 / np.mean((clean - degraded) ** 2)))
    assert probe.first == 'patch embedding'
    assert curves['first'].psnr[1] == pytest.approx(np.mean(expected), abs=1e-3)


def test_more_noise_changes_more(curves):
    assert list(curves) == ['image', 'first', 'shallow', 'medium', 'deep']
    for key in ('image', 'first'):
        assert (np.diff(curves[key].psnr) < 0).all()
        assert (np.diff(curves[key].change) > 0).all()
    # the patch embedding is linear, and noise alone (little is clipped) grows by as many dB in it as in the image
    drop = curves['image'].psnr[0] - curves['image'].psnr[-1]
    assert drop == pytest.approx(20, abs=2)
    assert curves['first'].psnr[0] - curves['first'].psnr[-1] == pytest.approx(drop, abs=1)


def test_change_counts_in_units_of_the_clean_ones_variation():
    clean = torch.randn(5, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert features.change(clean, clean) == 0
    assert features.change(clean, clean.mean((1, 2), keepdim=True).expand_as(clean)) == pytest.approx(1)
    assert features.change(clean, 2 * clean - clean.mean((1, 2), keepdim=True)) == pytest.approx(1)


def test_principal_components_are_those_of_all_cells_together():
    random = torch.Generator().manual_seed(0)
    spread = torch.arange(1, 8, dtype=torch.float64).view(-1, 1, 1)
    one, other = (
        torch.randn(7, *size, dtype=torch.float64, generator=random) * spread for size in ((5, 4), (3, 6))
    )
    found = features.principal([one, other + 2])
    cells = np.concatenate([one.flatten(1).T.numpy(), other.flatten(1).T.numpy() + 2])
    values, vectors = np.linalg.eigh(np.cov(cells.T))
    expected = vectors.T[::-1][:3]
    np.testing.assert_allclose(np.abs(found.basis.numpy() @ expected.T), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.explained.numpy(), values[::-1][:3] / values.sum(), atol=1e-9)
    assert (found.basis.numpy()[range(3), found.basis.abs().argmax(1)] > 0).all()
    assert [shown.shape for shown in found.maps] == [(5, 4, 3), (3, 6, 3)]
    assert all(0 <= shown.min() and shown.max() <= 1 for shown in found.maps)
    # a cell's colour is its score, whichever image it is of
    scores = (cells - cells.mean(0)) @ found.basis.numpy().T
    colours = np.concatenate([shown.reshape(-1, 3) for shown in found.maps])
    for score, colour in zip(scores.T, colours.T):
        assert (np.diff(colour[score.argsort()]) >= 0).all()


def test_equal_features_get_equal_colours_whatever_is_beside_them():
    random = torch.Generator().manual_seed(0)
    clean, other = (torch.randn(6, 4, 4, dtype=torch.float64, generator=random) for _ in range(2))
    maps = features.principal([clean, other, clean.clone()]).maps
    np.testing.assert_allclose(maps[0], maps[2], atol=1e-12)
    assert np.abs(maps[0] - maps[1]).max() > 0.1


def test_degrading_is_the_same_every_time_and_blurs_up_to_the_border(images):
    photo = images[0].astype(np.float32) / 255
    assert (features.degrade(photo, GaussianNoise(25)) == features.degrade(photo, GaussianNoise(25))).all()
    blurred = features.degrade(photo, GaussianBlur(15, 3))
    expected = cv2.GaussianBlur(photo, (15, 15), 3, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(blurred, expected, atol=0.51 / 255)


@pytest.mark.parametrize('encoder', [TINY_ENCODER, CONVOLUTIONAL], ids=['transformer', 'convolutional'])
def test_figures_are_files_1000_pixels_wide_and_the_same_every_time(encoder, images, tmp_path):
    for folder in ('one', 'two'):
        figures.fig3a(encoder, tmp_path / folder / '3a.png', images[0])
        figures.fig3b(encoder, tmp_path / folder / '3b.png', images, SIGMAS)
        figures.fig5(encoder, tmp_path / folder / '5.png', images[0])
    for name in ('3a.png', '3b.png', '5.png'):
        image = cv2.imread(str(tmp_path / 'one' / name))
        assert image.shape[1] == 1000
        assert image.std() > 20
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()


def test_stability_is_the_psnr_less_its_mean_over_the_levels_beside_the_papers_variance(probe, curves):
    panels = [SimpleNamespace(lines=[]) for _ in range(3)]
    for panel in panels:
        panel.plot = lambda x, y, label, panel=panel, **how: panel.lines.append((label, y))
        panel.set_title = panel.set_xlabel = panel.grid = panel.set_ylim = lambda *args, **how: None
    figures._draw_curves(panels, probe, curves, SIGMAS)
    for (label, values), (key, curve) in zip(panels[1].lines, curves.items()):
        np.testing.assert_allclose(values, curve.psnr - sum(curve.psnr) / len(SIGMAS))
        theirs = {'image': '36.85', 'first': '10.47'}.get(key, '0.61')
        variance = sum(value**2 for value in values) / len(SIGMAS)
        assert label.endswith(f'\nVar {variance:.2f} (paper {theirs})')
    assert len(panels[1].lines) == 5


def test_other_encoders_do_not_stand_beside_the_papers_features():
    other = features.Probe(CONVOLUTIONAL)
    assert [figures._printed_name(other, key) for key in ('image', 'first', 'deep')] == ['degraded_image', '', '']


def test_stem_of_a_convolutional_network_is_called_so():
    assert features.Probe(CONVOLUTIONAL).first == 'first convolution'


def test_titles_say_where_the_weights_are_from(probe):
    assert probe.text == 'vit_small_patch14_dinov2, random weights: without meaning'
    assert encoder_text({'name': 'x', 'weights': '/some/where/dinov2.pth'}) == 'x, weights of dinov2.pth'
    assert encoder_text({'name': 'x'}) == "x, timm's pretrained weights"


def test_the_photographs_need_no_download():
    for name in figures.PHOTOGRAPHS:
        photo = figures.photograph(name)
        assert photo.dtype == np.uint8 and photo.shape[2] == 3 and min(photo.shape[:2]) >= 300
