"""Where tiles lie."""

import pytest
import torch

from dinoir_plugin.core.tiles import Tile, axis_weights, check_tile, slices, tiles


def test_slices_of_a_tile():
    tile = Tile(top=16, left=32, height=64, width=48, image_height=128, image_width=96)
    assert slices(tile) == (slice(16, 80), slice(32, 80))


@pytest.mark.parametrize(('tile', 'overlap'), [(1, 0), (64, 32), (64, 0), (65, 32)])
def test_tiles_overlap_by_half_at_most(tile, overlap):
    check_tile(tile, overlap)


@pytest.mark.parametrize(('tile', 'overlap'), [(0, 0), (64, 33), (64, -1), (65, 33)])
def test_tiles_that_overlap_by_more_are_refused(tile, overlap):
    with pytest.raises(ValueError, match=f'got {overlap} of {tile} pixels'):
        check_tile(tile, overlap)


@pytest.mark.parametrize('multiple', [1, 8, 16])
def test_an_image_is_shared_out_in_steps_with_weights_that_add_up_to_one(multiple):
    height, width = 160, 112
    total = torch.zeros(height, width, dtype=torch.float64)
    places = []
    for tile, rows, columns in tiles(height, width, 64, 32, multiple):
        assert (tile.height, tile.width, tile.image_height, tile.image_width) == (64, 64, height, width)
        assert tile.top % multiple == tile.left % multiple == 0
        total[slices(tile)] += rows[:, None] * columns
        places.append((tile.top, tile.left))
    torch.testing.assert_close(total, torch.ones_like(total))
    assert places[0] == (0, 0) and places[-1] == (height - 64, width - 64) and len(set(places)) == len(places) == 12


def test_the_outer_quarters_of_an_overlap_do_not_count():
    (first, left), (second, right) = axis_weights(96, 64, 32)
    assert (first, second) == (0, 32)
    assert left[: 32 + 8].eq(1).all() and left[64 - 8 :].eq(0).all()
    assert right[:8].eq(0).all() and right[32 - 8 :].eq(1).all()
    torch.testing.assert_close(left[32:] + right[:32], torch.ones(32, dtype=torch.float64))
    assert left[48] == pytest.approx(0.5 - 0.5 / 16)
