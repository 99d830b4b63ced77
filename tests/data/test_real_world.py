"""The chain of blur, resizing, noise and JPEG: each step by itself, and what it depends on."""

import random

import numpy as np
import pytest
from scipy import ndimage

from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.real_world import RealWorld, _blurred, _kernel

NOTHING = {'blur': 0, 'resize': 0, 'noise': 0, 'jpeg': 0}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def photo(clean_images):
    return clean_images['astronaut'].astype(np.float32) / 255


def test_without_any_step_nothing_happens(photo):
    np.testing.assert_allclose(RealWorld(**NOTHING).apply(photo, rng(), Context()), photo, atol=1e-6)


@pytest.mark.parametrize('step', NOTHING)
def test_each_step_alone_does_something(photo, step):
    got = RealWorld(**{**NOTHING, step: 1}).apply(photo, rng(1), Context())
    assert got.shape == photo.shape and got.dtype == np.float32
    assert 0.002 < np.abs(got - photo).mean() < 0.1
    detail = [ndimage.laplace(image.mean(axis=2)).std() for image in (got, photo)]
    if step in ('blur', 'resize'):
        assert detail[0] < detail[1]
    if step == 'noise':
        assert detail[0] > detail[1]


def test_a_sample_follows_from_its_generator_alone(photo):
    degradation = RealWorld()
    state = random.getstate(), np.random.get_state()[1].copy()
    first = [degradation.apply(photo, rng(seed), Context()) for seed in range(8)]
    assert random.getstate() == state[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    np.random.seed(1)
    for seed, image in enumerate(first):
        np.testing.assert_array_equal(degradation.apply(photo, rng(seed), Context()), image)
    assert len({image.tobytes() for image in first}) == 8


def test_kernels_sum_to_one_and_a_flat_image_stays_flat():
    for seed in range(40):
        assert _kernel(11, 2.0, rng(seed)).sum() == pytest.approx(1)
        flat = np.full((40, 40, 3), 0.5, np.float32)
        np.testing.assert_allclose(_blurred(flat, rng(seed), 19, 2.0, 0.5), flat, atol=1e-5)
