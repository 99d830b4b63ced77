"""Holes: their formula, how much they cover, and masks of a folder."""

import numpy as np
import pytest
from conftest_data import write
from scipy import ndimage

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.degradations import build_degradations
from dinoir_plugin.data.holes import Holes, drawn_holes
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def photo(clean_images):
    return clean_images['coffee'].astype(np.float32) / 255


@pytest.fixture
def masks(tmp_path):
    """Ten masks of the photographs' size, one column wide hole each at another place, and their folder."""
    held = np.full((10, 150, 200), 255, np.uint8)
    for number, mask in enumerate(held):
        mask[:, 20 * number : 20 * number + 10] = 0
        write(tmp_path / 'masks' / f'{number:06d}.png', mask)
    return held, str(tmp_path / 'masks')


def test_holes_cover_from_a_tenth_to_a_half_in_pieces_of_some_size():
    shares, pieces = [], []
    for seed in range(60):
        grey = Holes(fill=1.0).apply(np.zeros((96, 128, 3), np.float32), rng(seed), Context())
        assert set(np.unique(grey)) == {0, 1}
        holes = grey[..., 0]
        np.testing.assert_array_equal(grey, holes[..., None].repeat(3, axis=2))
        shares.append(holes.mean())
        pieces.append(ndimage.label(holes)[1])
    assert 0.08 < min(shares) and max(shares) <= 0.5
    assert abs(np.mean(shares) - 0.3) < 0.04
    assert 1 < np.mean(pieces) < 15
    assert np.std(shares) > 0.08


@pytest.mark.parametrize('share', [0, 0.001, 0.03, 0.3, 0.9])
def test_holes_cover_what_they_are_to_and_never_more(share):
    covered = [drawn_holes(128, 160, share, rng(seed)).mean() for seed in range(5)]
    assert max(covered) <= share
    assert min(covered) > share - 0.015


def test_the_image_is_kept_outside_and_gone_inside(photo):
    holed = Holes(share=0.3, fill=0.2).apply(photo, rng(), Context())
    holes = drawn(photo.shape)
    assert 0.28 < holes.mean() <= 0.3
    np.testing.assert_array_equal(holed[holes], np.float32(51 / 255))
    np.testing.assert_allclose(holed[~holes], photo[~holes], atol=1e-6)


def drawn(shape):
    generator = rng()
    generator.uniform()  # for the fill
    return drawn_holes(*shape[:2], Holes(share=0.3).share(generator), generator).astype(bool)


def test_masks_of_a_folder_are_each_taken_and_cut_for_patches(photo, masks):
    held, folder = masks
    holes = Holes(masks=folder)
    found = set()
    for seed in range(60):
        got = holes.apply(photo, rng(seed), Context())
        white = (got == 1).all(axis=(0, 2))
        found.add(int(np.flatnonzero(white)[0]) // 20)
        mask = held[int(np.flatnonzero(white)[0]) // 20, ..., None] / np.float32(255)
        np.testing.assert_allclose(got, mask * photo + (1 - mask), atol=1e-6)
    assert found == set(range(10))
    # with a margin of another degradation, for a whole image and a patch
    whole = holes.apply(np.zeros((164, 214, 3), np.float32), rng(1), Context(margin=7))
    assert (whole[7:-7, 7:-7, 0].mean(axis=0) == 1).sum() == 10
    black, context = np.zeros((46, 46, 3), np.float32), Context(margin=7, whole=False)
    patches = [holes.apply(black, rng(seed), context) for seed in range(40)]
    widths = {int((patch[7:-7, 7:-7, 0].mean(axis=0) == 1).sum()) for patch in patches}
    assert widths >= {0, 10} and len(widths) > 3


def test_masks_of_another_size_are_refused_before_the_run(clean_images, sets, masks, tmp_path):
    _, folder = masks
    task = {'dataroot_gt': sets.clean, 'degradation': [{'type': 'gaussian_noise', 'sigma': 5},
                                                       {'type': 'holes', 'masks': folder}]}  # fmt: skip
    dataset = MixedDegradationDataset({'phase': 'train', 'gt_size': 64, 'tasks': {'fill': task}})
    dataset.check_images()
    assert dataset[0]['lq'].shape == (3, 64, 64)
    write(tmp_path / 'masks' / 'small.png', np.zeros((150, 100), np.uint8))
    dataset = MixedDegradationDataset({'phase': 'train', 'gt_size': 64, 'tasks': {'fill': task}})
    with pytest.raises(OptionsError, match=r'5 of 5 images cannot be used: the mask .*small\.png is 100x150, expected '
                                           r'the size of the images, 200x150\.$') as caught:  # fmt: skip
        dataset.check_images()
    assert caught.value.path == 'tasks.fill'
    assert '\n' not in str(caught.value)
    with pytest.raises(ValueError, match=r'small\.png is 100x150, expected 200x150'):
        for seed in range(60):
            Holes(masks=folder).apply(np.zeros((150, 200, 3), np.float32), rng(seed), Context())


@pytest.mark.parametrize(
    ('options', 'path', 'text'),
    [({'masks': 'no/such'}, 'd.masks', 'no such folder'),
     ({'masks': '.', 'share': 0.2}, 'd.share', 'no effect with masks'),
     ({'share': 0.95}, 'd.share', 'at most 0.9'), ({'fill': 2}, 'd.fill', 'at most 1')],
)  # fmt: skip
def test_wrong_parameters_are_named(options, path, text):
    with pytest.raises(OptionsError) as caught:
        build_degradations({'type': 'holes', **options}, 'd')
    assert caught.value.path == path and text in str(caught.value)
