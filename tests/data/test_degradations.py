"""Degradations against independent references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.degradations import OWN, GaussianBlur, GaussianNoise, build_degradations
from dinoir_plugin.data.depth import decode_depth, made_up_depth, scale_depth
from dinoir_plugin.data.motion import MotionBlur
from dinoir_plugin.data.patches import Crop, cut, trim
from dinoir_plugin.data.weather import Haze, RainStreaks, streak_kernel

PLAIN = Context()


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def photo(clean_images):
    return clean_images['chelsea'].astype(np.float32) / 255


@pytest.mark.parametrize('sigma', [15, 25, 50])
def test_noise_has_the_stated_deviation(sigma):
    grey = np.full((300, 300, 3), 0.5, np.float32)
    noise = (GaussianNoise(sigma, quantise='none').apply(grey, rng(), PLAIN) - grey) * 255
    assert noise.dtype == np.float32
    # exactly the generator's numbers, which come after the one that is drawn for sigma
    generator = rng()
    generator.uniform()
    numbers = generator.standard_normal(grey.shape, dtype=np.float32)
    np.testing.assert_allclose(noise, sigma * numbers, atol=1e-4)
    assert abs(noise.mean()) < sigma * 0.01
    assert abs(noise.std() / sigma - 1) < 0.01
    # Independent in channels and neighbours.
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02


def test_noise_is_quantised_as_asked(photo):
    """As files: the authors' ``np.clip(..., 0, 255).astype(np.uint8)`` cuts off, ``np.rint`` does not."""
    free = GaussianNoise(50, quantise='none').apply(photo, rng(3), PLAIN) * 255
    assert free.min() < 0
    clipped = np.clip(free, 0, 255)
    for quantise, expected in (('round', np.rint(clipped)), ('truncate', clipped.astype(np.uint8))):
        levels = GaussianNoise(50, quantise=quantise).apply(photo, rng(3), PLAIN) * 255
        # where float32 cannot tell on which side of a level a number lies
        assert (np.abs(levels - expected) > 1e-3).mean() < 1e-4


@pytest.mark.parametrize('quantise', ['round', 'truncate'])
def test_levels_of_a_file_stay_where_there_is_no_noise(quantise):
    levels = np.repeat(np.arange(256, dtype=np.float32)[:, None, None] / 255, 3, axis=2)
    np.testing.assert_array_equal(GaussianNoise(0, quantise=quantise).apply(levels, rng(), PLAIN), levels)


def test_sigma_range_is_drawn_uniformly_once_a_image():
    grey = np.full((40, 40, 3), 0.5, np.float32)
    noise = GaussianNoise([15, 50], quantise='none')
    stds = np.array([(noise.apply(grey, rng(seed), PLAIN) - grey).std() * 255 for seed in range(300)])
    assert 14 < stds.min() < 17
    assert 48 < stds.max() < 52
    assert abs(stds.mean() - 32.5) < 2


@pytest.mark.parametrize(
    ('options', 'values'),
    [({'type': 'gaussian_noise', 'sigma': {'choices': [15, 25, 50]}}, (15, 25, 50)),
     ({'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': {'choices': [2.0, 3.1]}}, (2.0, 3.1))],
)  # fmt: skip
def test_of_choices_each_is_drawn_as_often_and_nothing_else(options, values):
    (degradation,) = build_degradations(options, 'd')
    generator = rng()
    drawn = [degradation.sigma(generator) for _ in range(600)]
    assert set(drawn) == set(values)
    assert all(abs(drawn.count(value) / 600 - 1 / len(values)) < 0.08 for value in values)


def test_noise_of_choices_has_one_of_them(photo):
    noise = GaussianNoise({'choices': [15, 50]}, quantise='none')
    stds = [(noise.apply(photo, rng(seed), PLAIN) - photo).std() * 255 for seed in range(12)]
    near = [min((15, 50), key=lambda sigma: abs(std - sigma)) for std in stds]
    assert set(near) == {15, 50}
    np.testing.assert_allclose(stds, near, rtol=0.02)


@pytest.mark.parametrize(('size', 'sigma'), [(15, 2.0), (15, 3.1), (7, 1.0), (3, 0.8), (1, 1.0)])
def test_blur_is_scipys(photo, size, sigma):
    # scipy's 'mirror' is OpenCV's reflect-101, its radius is the kernel's half.
    expected = ndimage.gaussian_filter(photo, (sigma, sigma, 0), mode='mirror', radius=size // 2)
    got = GaussianBlur(size, sigma, quantise='none').apply(photo, rng(), PLAIN)
    np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize(('top', 'left'), [(0, 0), (3, 5), (50, 60), (150 - 64, 200 - 64)])
def test_crop_then_blur_is_blur_then_crop(photo, top, left):
    blur = GaussianBlur(15, [2.0, 3.1], quantise='none')
    crop = Crop(top, left, 64, 64)
    whole = blur.apply(photo, rng(5), PLAIN)[top:top + 64, left:left + 64]
    patch = trim(blur.apply(cut(photo, crop, blur.margin), rng(5), PLAIN), blur.margin)
    np.testing.assert_allclose(patch, whole, atol=1e-6)


def test_motion_blur_is_the_mean_along_a_line(photo):
    blur = MotionBlur(9, 90, quantise='none')
    moved = np.mean([np.roll(photo, step, axis=1) for step in range(-4, 5)], axis=0)
    got = trim(blur.apply(photo, rng(), PLAIN), blur.margin)
    assert np.abs(got - trim(moved, blur.margin)).mean() < 0.2 * np.abs(got - trim(photo, blur.margin)).mean()
    crop = Crop(20, 30, 64, 64)
    patch = trim(blur.apply(cut(photo, crop, blur.margin), rng(), PLAIN), blur.margin)
    np.testing.assert_allclose(patch, cut(blur.apply(photo, rng(), PLAIN), crop, 0), atol=1e-6)


def test_haze_is_the_scattering_formula(photo, disparity):
    depth = scale_depth(disparity, 'disparity', 'disparity.npy')
    got = Haze(beta=1.3, airlight=0.85, quantise='none').apply(photo, rng(), Context(depth))
    t = np.exp(-1.3 * depth.astype(np.float64))[..., None]
    np.testing.assert_allclose(got, photo * t + 0.85 * (1 - t), atol=1e-6)
    with pytest.raises(ValueError, match='expected a depth map'):
        Haze().apply(photo, rng(), PLAIN)


def test_depth_is_scaled_turned_and_filled(disparity):
    assert not np.isfinite(disparity).all()
    depth = scale_depth(disparity, 'disparity', 'd')
    assert depth.dtype == np.float32
    assert depth.max() == 1
    assert depth.min() > 0
    known = np.isfinite(disparity) & (disparity > np.percentile(disparity[np.isfinite(disparity)], 3))
    np.testing.assert_allclose(depth[known] * disparity[known], (depth[known] * disparity[known])[0], rtol=1e-5)
    # A hole takes its nearest neighbour's value (two neighbours may be equally near, so look at distances).
    holes = ~np.isfinite(disparity)
    filled = scale_depth(disparity, 'depth', 'd') * scale_factor(disparity)
    nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    same = np.isclose(filled[holes], disparity[tuple(nearest)][holes], rtol=1e-4)
    assert same.mean() > 0.8
    assert np.isfinite(filled).all()


def scale_factor(disparity):
    return disparity[np.isfinite(disparity)].max()


def test_depth_without_any_value_is_refused():
    with pytest.raises(ValueError, match=r'x\.png: the depth map has no finite value'):
        scale_depth(np.zeros((4, 4), np.uint16), 'depth', 'x.png')
    with pytest.raises(ValueError, match='expected an image'):
        decode_depth(b'nonsense', 'x.png')


def test_made_up_depth_is_smooth_bounded_and_farther_up_on_the_whole():
    maps = [made_up_depth(120, 160, rng(seed)) for seed in range(20)]
    for depth in maps:
        assert depth.shape == (120, 160)
        assert depth.min() >= 0.1 - 1e-6
        assert depth.max() <= 1 + 1e-6
        assert np.abs(np.diff(depth, axis=0)).max() < 0.05
    assert np.mean([depth[:20].mean() - depth[-20:].mean() for depth in maps]) > 0.2
    assert np.abs(maps[0] - maps[1]).mean() > 0.01


@pytest.mark.parametrize('blend', ['add', 'screen'])
def test_rain_brightens_by_its_layer(photo, blend):
    rain = RainStreaks(strength=0.5, blend=blend, quantise='none')
    layer = rain.layer(150, 200, rng(1))[..., None]
    got = rain.apply(photo, rng(1), PLAIN)
    expected = np.minimum(photo + layer, 1) if blend == 'add' else photo + layer - photo * layer
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert layer.max() > 0.2


def test_rain_lies_along_its_angle_and_is_as_dense_at_the_border():
    layer = np.mean([RainStreaks(angle=30, density=0.002).layer(100, 100, rng(seed)) for seed in range(60)], axis=0)
    frame = layer.copy()
    frame[10:-10, 10:-10] = np.nan
    assert abs(np.nanmean(frame) / layer[10:-10, 10:-10].mean() - 1) < 0.1
    kernel = streak_kernel(30, 20, 0.8)
    y, x = np.mgrid[:kernel.shape[0], :kernel.shape[1]] - kernel.shape[0] // 2
    xx, xy, yy = ((kernel * a * b).sum() for a, b in ((x, x), (x, y), (y, y)))
    assert abs(np.degrees(0.5 * np.arctan2(2 * xy, yy - xx)) - 30) < 0.5


@pytest.mark.parametrize('kind', sorted(OWN))
def test_every_degradation_keeps_its_input_and_returns_8_bit_levels(photo, kind):
    needed = {'gaussian_noise': {'sigma': 25}, 'gaussian_blur': {'kernel_size': 9, 'sigma': 2}, 'jpeg': {'quality': 10},
              'evaluation_noise': {'sigma': 15}}  # fmt: skip
    (degradation,) = build_degradations({'type': kind, **needed.get(kind, {})}, 'tasks.x.degradation')
    before = photo.copy()
    context = Context(made_up_depth(150, 200, rng()) if degradation.wants_depth else None)
    first, second = (degradation.apply(photo, rng(2), context) for _ in range(2))
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert first.shape == photo.shape
    assert np.abs(first - photo).max() > 0.02
    np.testing.assert_allclose(first * 255, np.rint(first * 255), atol=1e-3)


@pytest.mark.parametrize(
    ('options', 'path', 'text'),
    [
        ({'type': 'gausian_noise', 'sigma': 5}, 'd.type', "did you mean 'gaussian_noise'"),
        ({'sigma': 5}, 'd.type', 'expected one of gaussian_noise'),
        ({'type': 'gaussian_noise'}, 'd.sigma', 'this key is required'),
        ({'type': 'gaussian_noise', 'sgima': 5}, 'd.sgima', "did you mean 'sigma'"),
        ({'type': 'gaussian_noise', 'sigma': -1}, 'd.sigma', 'of at least 0, got -1'),
        ({'type': 'gaussian_noise', 'sigma': [50, 15]}, 'd.sigma', 'from <= to'),
        ({'type': 'gaussian_noise', 'sigma': [15, 25, 50]}, 'd.sigma', 'two numbers'),
        ({'type': 'gaussian_noise', 'sigma': {'choices': []}}, 'd.sigma', 'or {choices: [...]}, got'),
        ({'type': 'gaussian_noise', 'sigma': {'choice': [15]}}, 'd.sigma', 'or {choices: [...]}, got'),
        ({'type': 'gaussian_noise', 'sigma': {'choices': [15, 'x']}}, 'd.sigma.choices[1]', "got 'x'"),
        ({'type': 'gaussian_noise', 'sigma': {'choices': [15, -1]}}, 'd.sigma', 'of at least 0'),
        ({'type': 'gaussian_noise', 'sigma': 'much'}, 'd.sigma', 'much'),
        ({'type': 'gaussian_noise', 'sigma': True}, 'd.sigma', 'expected a number'),
        ({'type': 'gaussian_noise', 'sigma': 5, 'quantise': 'rond'}, 'd.quantise', 'round'),
        ({'type': 'gaussian_blur', 'kernel_size': 14, 'sigma': 2}, 'd.kernel_size', 'odd number, got 14. Take 13 or'),
        ({'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': 0}, 'd.sigma', 'above 0'),
        ({'type': 'gaussian_blur', 'kernel_size': 15.5, 'sigma': 1}, 'd.kernel_size', 'whole number'),
        ({'type': 'haze', 'airlight': 1.2}, 'd.airlight', 'at most 1'),
        ({'type': 'rain_streaks', 'blend': 'max'}, 'd.blend', 'screen, add'),
        ({'type': 'evaluation_noise', 'sigma': 30}, 'd.sigma', 'expected 15, 25 or 50 with generator: numpy, got 30'),
        ([], 'd', 'empty list'),
        ([{'type': 'haze'}, {'type': 'haze', 'betta': 1}], 'd[1].betta', "did you mean 'beta'"),
        ('noise', 'd', 'block of options'),
    ],
)  # fmt: skip
def test_wrong_parameters_are_named(options, path, text):
    with pytest.raises(OptionsError) as caught:
        build_degradations(options, 'd')
    assert caught.value.path == path
    assert text in str(caught.value)
