"""Darkness and shadows against their formulas."""

import numpy as np
import pytest
from scipy import ndimage

from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.lighting import LowLight, Shadow


@pytest.fixture
def photo(clean_images):
    return clean_images['coffee'].astype(np.float32) / 255


def rng(seed=0):
    return np.random.default_rng(seed)


def test_darkness_is_a_power_and_its_noise_that_of_photons(photo):
    dark = LowLight(gamma=2.5, scale=0.6, photons=100000, quantise='none').apply(photo, rng(), Context())
    np.testing.assert_allclose(dark, 0.6 * photo.astype(np.float64) ** 2.5, atol=0.015)
    grey = np.full((200, 200, 3), 0.5, np.float32)
    noisy = LowLight(gamma=1, scale=1, photons=50, quantise='none').apply(grey, rng(), Context())
    assert noisy.mean() == pytest.approx(0.5, abs=2e-3)
    assert noisy.std() == pytest.approx(np.sqrt(0.5 / 50), rel=0.02)
    np.testing.assert_allclose(50 * noisy, np.rint(50 * noisy), atol=1e-4)


def test_a_shadow_takes_its_share_of_the_light_and_has_a_soft_border(photo):
    covered = []
    for seed in range(30):
        shadow = Shadow(darkness=0.6, softness=0.02)
        layer = shadow.layer(150, 200, rng(seed))
        covered.append((layer > 0.5).mean())
        assert layer.min() >= 0 and layer.max() <= 1 + 1e-6
        assert np.abs(np.diff(layer, axis=1)).max() < 0.2
        assert ndimage.label(layer > 0.5)[1] <= 2
    assert 0.05 < np.mean(covered) < 0.5
    got = Shadow(darkness=0.6, softness=0.02, quantise='none').apply(photo, rng(3), Context())
    generator = rng(3)
    generator.uniform()  # for the darkness
    layer = Shadow(softness=0.02).layer(150, 200, generator)[..., None]
    np.testing.assert_allclose(got, photo * (1 - 0.6 * layer), atol=1e-6)
