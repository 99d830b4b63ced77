"""Depth maps from files, with holes, as depth or as disparity."""

import cv2
import numpy as np
import pytest

from dinoir_plugin.data.depth import DepthSource, decode_depth, made_up_depth, scale_depth


def test_maps_are_read_from_images_and_arrays_with_their_sizes(tmp_path):
    values = np.arange(1, 13, dtype=np.uint16).reshape(3, 4)
    cv2.imwrite(str(tmp_path / 'a.png'), values)
    np.save(tmp_path / 'b.npy', values.astype(np.float64))
    np.save(tmp_path / 'c.npy', values[..., None])
    source = DepthSource(str(tmp_path), 'x', 'depth')
    assert source.keys == ['a', 'b', 'c'] and source.size(0) == source.size(1) == (3, 4)
    for number in (0, 1):
        depth = source.depth(number)
        assert depth.dtype == np.float32
        np.testing.assert_allclose(depth, values / 12, rtol=1e-6)
    np.testing.assert_array_equal(decode_depth((tmp_path / 'a.png').read_bytes(), 'a.PNG'), values)
    np.testing.assert_array_equal(decode_depth((tmp_path / 'b.npy').read_bytes(), 'b.NPY'), values)
    for look in (source.size, source.depth):
        with pytest.raises(ValueError, match=r'c\.npy: expected .* of one channel, got one of shape \(3, 4, 1\)'):
            look(2)
    for data in (b'', b'nonsense'):
        with pytest.raises(ValueError, match='expected an image'):
            decode_depth(data, 'x.png')


@pytest.mark.parametrize('hole', [0, -1, np.inf, -np.inf, np.nan])
def test_a_hole_takes_the_value_of_its_nearest_neighbour(hole):
    values = np.array([[1, 1, 1, 8], [1, hole, 4, 8], [1, 1, 1, 8]], float)
    values[1, 0] = 2
    filled = scale_depth(values, 'depth', 'x')
    assert filled[1, 1] in (1 / 8, 2 / 8, 4 / 8)
    known = np.ones_like(values, bool)
    known[1, 1] = False
    np.testing.assert_allclose(filled[known], values[known] / 8)


def test_the_farthest_hundredth_of_a_disparity_is_as_far_as_what_comes_before_it():
    values = np.arange(1, 1002, dtype=np.float32).reshape(7, 143)
    depth = scale_depth(values, 'disparity', 'x')
    np.testing.assert_allclose(depth, 11 / np.maximum(values, 11), rtol=1e-5)


def test_made_up_depth_lies_far_at_the_top_and_uses_as_many_numbers_for_every_size():
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    small, large = made_up_depth(20, 30, one), made_up_depth(200, 300, other)
    assert small.shape == (20, 30) and large.shape == (200, 300) and large.dtype == np.float32
    expected = np.random.default_rng(0)
    expected.random(1 + 4 * 4)
    assert one.random() == other.random() == expected.random()
    assert large.min() == pytest.approx(0.1, abs=0.03) and large.max() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(cv2.resize(large, (30, 20), interpolation=cv2.INTER_AREA), small, atol=0.03)
    maps = [made_up_depth(30, 30, np.random.default_rng(seed)) for seed in range(300)]
    mean = np.mean(maps, axis=0)
    assert mean[0].mean() > 0.75 and mean[-1].mean() < 0.35
    assert abs(mean[:, 0].mean() - mean[:, -1].mean()) < 0.1
    assert max(abs(depth[:, 0].mean() - depth[:, -1].mean()) for depth in maps) > 0.4
