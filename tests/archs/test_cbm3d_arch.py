"""CBM3D, with the package where it is installed, and with a stand-in for it where it is not."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError


def make(**options):
    return build_registered(ARCH_REGISTRY, {'type': 'CBM3D', **options}, 'network_g')


@pytest.fixture
def calls(monkeypatch):
    """A stand-in that halves, and what it was called with."""
    seen = []

    def halves(kind):
        def call(image, sigma, profile):
            seen.append((kind, image.shape, sigma, profile))
            assert image.dtype == np.float64
            return image / 2 if image.ndim == 3 else image[..., None] / 2

        return call

    monkeypatch.setitem(sys.modules, 'bm3d', SimpleNamespace(bm3d_rgb=halves('rgb'), bm3d=halves('grey')))
    return seen


def test_images_go_as_colour_with_the_noise_in_their_own_range(calls):
    images = torch.rand(2, 3, 20, 24)
    torch.testing.assert_close(make(sigma=25)(images), images / 2)
    assert calls == [('rgb', (20, 24, 3), 25 / 255, 'np')] * 2


def test_grey_and_constant_images_go_plane_by_plane(calls):
    grey = torch.rand(1, 1, 20, 24).expand(1, 3, 20, 24)
    torch.testing.assert_close(make(sigma=15)(grey), grey / 2)
    assert calls == [('grey', (20, 24), 15 / 255, 'np')] * 3
    constant = torch.full((1, 3, 16, 16), 0.25)
    assert torch.equal(make(sigma=15)(constant), constant)


def test_small_images_are_mirrored(calls):
    images = torch.rand(1, 3, 3, 40)
    torch.testing.assert_close(make(sigma=15, profile='high')(images), images / 2)
    assert calls == [('rgb', (16, 40, 3), 15 / 255, 'high')]


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'bm3d', None)
    with pytest.raises(OptionsError) as caught:
        make(sigma=25)
    assert caught.value.path == 'network_g.type'
    assert "pip install 'dinoir_plugin[bm3d]'" in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('sigma', [0, -5, 'strong'])
def test_noise_that_is_none(sigma, calls):
    with pytest.raises(OptionsError, match=r'network_g\.sigma'):
        make(sigma=sigma)


def test_removes_noise(photo):
    pytest.importorskip('bm3d')
    clean = torch.from_numpy(photo[:40, :48]).permute(2, 0, 1)[None] / 255
    noisy = clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * 25 / 255
    network = make(sigma=25)
    assert (network(noisy) - clean).square().mean() < 0.4 * (noisy - clean).square().mean()
    for odd in (torch.rand(1, 1, 24, 24).expand(1, 3, 24, 24), torch.zeros(1, 3, 24, 24), torch.rand(1, 3, 8, 8)):
        assert network(odd).isfinite().all()


def test_noise_that_nobody_tells_is_estimated_for_each_image(calls):
    noise = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    images = 0.5 + noise * torch.tensor([15 / 255, 50 / 255])[:, None, None, None]
    make()(images)
    assert [sigma * 255 for _, _, sigma, _ in calls] == pytest.approx([15, 50], rel=0.05)
    calls.clear()
    clean = torch.full((1, 3, 20, 24), 0.25)
    assert torch.equal(make()(clean), clean) and not calls
