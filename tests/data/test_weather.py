"""Rain and haze from their numbers, drawn as documented."""

import math

import cv2
import numpy as np
import pytest

from dinoir_plugin.data.degradation_base import Context, quantised
from dinoir_plugin.data.weather import Haze, Raindrops, RainStreaks, Snow, streak_kernel


def test_what_is_drawn_where_nothing_is_said():
    rain, haze = RainStreaks(), Haze()
    drawn = (rain.angle, rain.length, rain.density, rain.strength, rain.width, haze.beta, haze.airlight)
    limits = ((-30, 30), (10, 30), (0.001, 0.005), (0.2, 0.6), (0.6, 1.0), (0.6, 1.8), (0.7, 1.0))
    assert tuple(tuple(draw.numbers) for draw in drawn) == limits and not any(draw.of_choices for draw in drawn)
    assert (rain.blend, rain.quantise, haze.quantise) == ('screen', 'round', 'round')


def test_streaks_are_drops_in_motion_on_a_frame_that_reaches_into_the_image():
    rain = RainStreaks(angle=[10, 20], length=[9, 15], density=[0.002, 0.004], strength=[0.3, 0.4], width=[0.7, 0.9])
    rng = np.random.default_rng(3)
    angle, length, density, strength, width = (
        rng.uniform(*limits) for limits in ((10, 20), (9, 15), (0.002, 0.004), (0.3, 0.4), (0.7, 0.9))
    )
    kernel = streak_kernel(angle, length, width)
    reach = kernel.shape[0] // 2
    drops = np.zeros((40 + 2 * reach, 60 + 2 * reach), np.float32)
    count = rng.binomial(drops.size, density)
    places = rng.integers(0, drops.size, count)
    drops.flat[places] = strength * rng.uniform(0.5, 1, count)
    expected = cv2.filter2D(drops, -1, kernel, borderType=cv2.BORDER_CONSTANT)[reach:-reach, reach:-reach]
    found = rain.layer(40, 60, np.random.default_rng(3))
    assert found.shape == (40, 60) and found.max() > 0.1
    np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize(('angle', 'length', 'width'), [(0, 11, 0.8), (30, 20, 1.0), (-90, 7, 0.6)])
def test_a_streak_is_one_along_its_line_and_falls_off_as_a_gaussian(angle, length, width):
    kernel = streak_kernel(angle, length, width)
    reach = math.ceil(length / 2 + 3 * width)
    assert kernel.shape == (2 * reach + 1, 2 * reach + 1) and kernel.dtype == np.float32
    down, right = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for (row, column), value in np.ndenumerate(kernel):
        y, x = row - reach, column - reach
        place = min(max(y * down + x * right, -length / 2), length / 2)
        distance = math.hypot(y - place * down, x - place * right)
        assert value == pytest.approx(math.exp(-(distance**2) / (2 * width**2)), abs=1e-5)


@pytest.mark.parametrize(('strength', 'blend'), [(1.0, 'add'), (1.0, 'screen')])
def test_rain_never_leaves_the_range(strength, blend):
    rain = RainStreaks(density=0.5, strength=strength, blend=blend, quantise='none')
    image = np.full((20, 30, 3), 0.9, np.float32)
    wet = rain.apply(image, np.random.default_rng(0), Context())
    assert wet.dtype == np.float32 and wet.min() >= 0.9 - 1e-6 and wet.max() <= 1


def test_haze_is_drawn_once_an_image():
    depth = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    rng = np.random.default_rng(4)
    beta, airlight = rng.uniform(0.6, 1.8), rng.uniform(0.7, 1.0)
    hazy = Haze(quantise='none').apply(np.zeros((3, 4, 3), np.float32), np.random.default_rng(4), Context(depth))
    np.testing.assert_allclose(hazy, np.repeat(airlight * (1 - np.exp(-beta * depth))[..., None], 3, 2), atol=1e-6)


def test_flakes_whiten_by_their_layer_and_are_as_dense_at_the_border():
    snow = Snow(size=4, density=0.002, strength=0.8, quantise='none')
    layer = snow.layer(100, 120, np.random.default_rng(1))
    got = snow.apply(np.full((100, 120, 3), 0.25, np.float32), np.random.default_rng(1), Context())
    np.testing.assert_allclose(got, (0.25 + 0.75 * layer)[..., None].repeat(3, axis=2), atol=1e-6)
    assert 0.4 < layer.max() <= 0.8 + 1e-6
    mean = np.mean([snow.layer(100, 100, np.random.default_rng(seed)) for seed in range(60)], axis=0)
    assert abs(np.r_[mean[:10].ravel(), mean[:, -10:].ravel()].mean() / mean[20:-20, 20:-20].mean() - 1) < 0.15


def test_a_drop_shows_its_surroundings_upside_down_and_the_rest_stays():
    y, x = np.mgrid[:120, :160].astype(np.float32)
    ramp = np.stack([x / 159, y / 119, np.full_like(x, 0.5)], axis=2)
    drops = Raindrops(size=12, density=0.0005, zoom=3, quantise='none')
    changes = []
    for seed in range(10):
        got = drops.apply(ramp, np.random.default_rng(seed), Context())
        changed = np.abs(got - ramp).max(axis=2) > 1e-3
        changes.append(changed.mean())
        # within a drop brightness falls from left to right three times as fast as it rises around it
        slopes = np.diff(got[..., 0], axis=1) * 159
        assert slopes.min() < -2.9
        np.testing.assert_allclose(got[..., 2], 0.5, atol=1e-5)
    assert 0.02 < np.mean(changes) < 0.25
    np.testing.assert_array_equal(Raindrops(density=0).apply(ramp, np.random.default_rng(0), Context()).round(4),
                                  quantised(ramp, 'round').round(4))  # fmt: skip
