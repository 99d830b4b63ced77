import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.guidance.condition import Condition


@pytest.fixture
def condition():
    torch.manual_seed(0)
    return Condition({'guide': torch.randn(2, 3, 5, 7)}, torch.randn(2, 4, 6), torch.randn(2, 8))


def full_size(condition, height, width):
    coarse, rows, columns = condition.upsampling('guide', height, width)
    return rows @ coarse @ columns.T


def test_upsampling_is_bilinear_without_aligned_corners(condition):
    direct = F.interpolate(condition.maps['guide'], size=(16, 24), mode='bilinear', align_corners=False)
    torch.testing.assert_close(full_size(condition, 16, 24), direct)


@pytest.mark.parametrize('steps', [1, 2, 4])
def test_a_tile_has_its_share_of_the_whole(condition, steps):
    whole = full_size(condition, 64 // steps, 96 // steps)
    tile = condition.crop(Tile(16, 32, 24, 40, 64, 96))
    assert tile.tokens is condition.tokens and tile.vector is condition.vector
    part = whole[..., 16 // steps : 40 // steps, 32 // steps : 72 // steps]
    torch.testing.assert_close(full_size(tile, 24 // steps, 40 // steps), part)


def test_a_part_of_a_tile_is_a_tile_of_the_image(condition):
    whole = full_size(condition, 64, 96)
    # a window of a feature with half as many steps, in a tile of the image
    inner = condition.crop(Tile(16, 32, 24, 40, 64, 96)).crop(Tile(2, 4, 6, 8, 12, 20))
    half = full_size(condition, 32, 48)
    torch.testing.assert_close(full_size(inner, 6, 8), half[..., 10:16, 20:28])
    alone = condition.crop(Tile(3, 5, 7, 9, 64, 96))
    torch.testing.assert_close(full_size(alone, 7, 9), whole[..., 3:10, 5:14])


@pytest.mark.parametrize('image', [(64, 96), (32, 32), (640, 480)])
def test_tiles_of_one_size_have_parts_of_one_size(image):
    """So that what is computed for one of them serves the others."""
    torch.manual_seed(0)
    condition = Condition({'guide': torch.randn(1, 3, image[0] // 14, image[1] // 14, dtype=torch.float64)})
    whole = full_size(condition, *image)
    sizes = set()
    for top in range(0, image[0] - 24, 8):
        for left in (0, (image[1] - 32) // 3, image[1] - 32):
            tile = condition.crop(Tile(top, left, 24, 32, *image))
            sizes.add(tile.maps['guide'].shape)
            torch.testing.assert_close(full_size(tile, 24, 32), whole[..., top : top + 24, left : left + 32])
    assert len(sizes) == 1


def test_half_precision_maps_are_upsampled_by_exact_weights(condition):
    half = Condition({'guide': condition.maps['guide'].bfloat16()})
    coarse, rows, _ = half.upsampling('guide', 16, 24)
    assert coarse.dtype is torch.bfloat16 and rows.dtype is torch.float32
    torch.testing.assert_close(rows, condition.upsampling('guide', 16, 24).rows)
