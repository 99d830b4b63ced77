"""Rain and haze from their numbers, drawn as documented."""

import math

import cv2
import numpy as np
import pytest

from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.weather import Haze, RainStreaks, streak_kernel


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
