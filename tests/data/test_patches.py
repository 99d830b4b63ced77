"""Cutting and turning, against numpy."""

import numpy as np
import pytest

from dinoir_plugin.data.patches import Crop, Turn, cut, draw_crop, draw_turn, trim, turn_image

IMAGE = np.arange(9 * 11 * 3).reshape(9, 11, 3)


@pytest.mark.parametrize(('border', 'padding'), [('mirror', 'reflect'), ('replicate', 'edge'), ('wrap', 'wrap')])
@pytest.mark.parametrize('crop', [Crop(0, 0, 9, 11), Crop(0, 6, 4, 5), Crop(5, 0, 4, 3), Crop(3, 4, 2, 2)])
@pytest.mark.parametrize('margin', [0, 2, 4])
def test_what_lies_beyond_the_borders_is_what_is_asked_for(border, padding, crop, margin):
    for image in (IMAGE, IMAGE[..., 0]):
        widths = ((margin, margin), (margin, margin), (0, 0))[: image.ndim]
        padded = np.pad(image, widths, mode=padding)
        rows = slice(crop.top, crop.top + crop.height + 2 * margin)
        expected = padded[rows, crop.left : crop.left + crop.width + 2 * margin]
        found = cut(image, crop, margin, border)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(trim(found, margin), cut(image, crop, 0))


def test_inside_an_image_nothing_is_copied():
    assert np.shares_memory(cut(IMAGE, Crop(2, 3, 5, 5), 2), IMAGE)
    assert np.shares_memory(cut(IMAGE, Crop(0, 0, 9, 11), 0), IMAGE)
    assert np.shares_memory(turn_image(IMAGE, Turn(True, True, True)), IMAGE)


def test_crops_are_placed_everywhere_and_nowhere_else():
    rng = np.random.default_rng(0)
    crops = {draw_crop(9, 11, 8, rng) for _ in range(200)}
    assert crops == {Crop(top, left, 8, 8) for top in (0, 1) for left in (0, 1, 2, 3)}
    assert draw_crop(9, 9, 9, rng) == Crop(0, 0, 9, 9)


@pytest.mark.parametrize(
    ('hflip', 'rot', 'count'), [(True, True, 8), (True, False, 2), (False, True, 4), (False, False, 1)]
)
def test_turns_are_those_asked_for_each_as_often(hflip, rot, count):
    rng = np.random.default_rng(0)
    turns = [draw_turn(hflip, rot, rng) for _ in range(400)]
    assert len(set(turns)) == count and min(turns.count(turn) for turn in set(turns)) > 300 / count
    assert {turn.across for turn in turns} == ({True, False} if hflip else {False})
    assert {turn[1:] for turn in turns} == ({(a, b) for a in (0, 1) for b in (0, 1)} if rot else {(False, False)})


def test_an_image_is_mirrored_left_right_then_top_bottom_then_across_the_diagonal():
    np.testing.assert_array_equal(turn_image(IMAGE, Turn(across=True)), IMAGE[:, ::-1])
    np.testing.assert_array_equal(turn_image(IMAGE, Turn(down=True)), IMAGE[::-1])
    np.testing.assert_array_equal(turn_image(IMAGE, Turn(diagonal=True)), IMAGE.transpose(1, 0, 2))
    np.testing.assert_array_equal(turn_image(IMAGE, Turn(True, False, True)), np.rot90(IMAGE))
