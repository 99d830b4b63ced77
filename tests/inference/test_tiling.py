from itertools import pairwise

import pytest
import torch
from skimage import data
from torch import nn
from torch.nn import functional as F

from dinoir_plugin.core.tiles import axis_weights
from dinoir_plugin.inference import tiling
from dinoir_plugin.inference.tiling import restore_image, restore_tiled


@pytest.fixture(scope='module')
def photo():
    return torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].double() / 255


@pytest.mark.parametrize(('tile', 'overlap'), [(128, 16), (97, 33), (400, 64), (1000, 0), (64, 0), (64, 32), (450, 1)])
def test_a_local_operation_gives_what_it_gives_for_the_whole_image(photo, tile, overlap):
    radius = min(overlap // 4, 3)
    kernel = torch.rand(3, 1, 2 * radius + 1, 2 * radius + 1, dtype=torch.float64)
    sizes = []

    def blur(x, window=None):
        sizes.append(x.shape[-2:])
        return F.conv2d(x, kernel, padding=radius, groups=3)

    whole = blur(photo)
    sizes.clear()
    torch.testing.assert_close(restore_tiled(blur, photo, tile, overlap), whole, rtol=1e-12, atol=1e-12)
    assert set(sizes) == {(min(tile, photo.shape[2]), min(tile, photo.shape[3]))}


def test_tiles_that_disagree_are_faded_into_each_other():
    levels = iter([0.0, 1.0])
    result = restore_tiled(lambda x, _: torch.full_like(x, next(levels)), torch.zeros(1, 1, 8, 96), tile=64, overlap=32)
    row = result[0, 0, 0]
    assert row[:40].eq(0).all() and row[56:].eq(1).all()
    steps = row.diff()
    assert steps.min() >= 0 and steps.max() < 0.1


@pytest.mark.parametrize(('side', 'tile', 'overlap'), [(1080, 512, 64), (7, 8, 2), (513, 512, 256), (3840, 512, 64)])
def test_weights_add_up_to_one_and_tiles_overlap_enough(side, tile, overlap):
    tiles = axis_weights(side, tile, overlap)
    total = torch.zeros(side, dtype=torch.float64)
    for start, weights in tiles:
        total[start : start + len(weights)] += weights
    torch.testing.assert_close(total, torch.ones_like(total))
    starts = [start for start, _ in tiles]
    assert all(a + tile - b >= overlap for a, b in pairwise(starts))
    assert starts[-1] + min(tile, side) == side


@pytest.mark.parametrize(('tile', 'overlap'), [(0, 0), (64, 33), (64, -1)])
def test_sizes_that_do_not_fit_are_refused(tile, overlap):
    with pytest.raises(ValueError, match='overlap from 0 to half'):
        restore_tiled(lambda x, _: x, torch.zeros(1, 3, 8, 8), tile, overlap)


def test_a_network_that_changes_the_size_is_refused():
    with pytest.raises(ValueError, match='keep their size'):
        restore_tiled(lambda x, _: F.interpolate(x, scale_factor=2), torch.zeros(1, 3, 8, 8))


class LessItsMean(nn.Module):
    """Guided by the mean of what it sees."""

    size_multiple = 1

    def padded(self, image):
        return image

    def by_tile(self, image, call):
        return lambda place, part: part - image.mean()

    def forward(self, image):
        return image - image.mean()


def test_of_large_images_tiles_are_seen_by_themselves_unless_the_encoder_sees_one_size(photo, monkeypatch):
    network, whole = LessItsMean(), photo - photo.mean()
    pixels = photo.shape[-2] * photo.shape[-1]
    monkeypatch.setattr(tiling, 'MOST_ENCODED', pixels)
    torch.testing.assert_close(restore_image(network, photo, 64, 16), whole)
    monkeypatch.setattr(tiling, 'MOST_ENCODED', pixels - 1)
    by_itself = restore_image(network, photo, 64, 16, one_guide=False)
    assert (by_itself - whole).abs().max() > 0.01
    assert torch.equal(restore_image(network, photo, 64, 16), by_itself)
    torch.testing.assert_close(restore_image(network, photo, 64, 16, one_guide=True), whole)
    network.of_one_size = True
    torch.testing.assert_close(restore_image(network, photo, 64, 16), whole)
