"""JPEG against files that OpenCV and Pillow write."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.compression import Jpeg, jpeg_of
from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.degradations import build_degradations
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset


@pytest.fixture
def photo(clean_images):
    return clean_images['chelsea'].astype(np.float32) / 255


def rng(seed=0):
    return np.random.default_rng(seed)


def levels(image):
    return np.rint(image * 255).astype(np.uint8)


@pytest.mark.parametrize('quality', [10, 90])
def test_a_whole_image_is_what_its_file_holds(photo, quality, tmp_path):
    cv2.imwrite(str(tmp_path / 'x.jpg'), levels(photo)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    file = cv2.imread(str(tmp_path / 'x.jpg'))[..., ::-1]
    got = Jpeg(quality).apply(photo, rng(), Context())
    np.testing.assert_array_equal(levels(got), file)
    # another program's file of that quality, whose colour has half the resolution too
    code = io.BytesIO()
    Image.fromarray(levels(photo)).save(code, 'JPEG', quality=quality, subsampling='4:2:0')
    assert np.abs(levels(got).astype(int) - np.asarray(Image.open(code))).mean() < 0.5


def test_a_margin_changes_nothing_of_a_whole_image(photo):
    framed = cv2.copyMakeBorder(photo, 7, 7, 7, 7, cv2.BORDER_REFLECT_101)
    got = Jpeg(10).apply(framed, rng(), Context(margin=7))
    np.testing.assert_array_equal(got[7:-7, 7:-7], Jpeg(10).apply(photo, rng(), Context()))
    np.testing.assert_array_equal(got, cv2.copyMakeBorder(got[7:-7, 7:-7], 7, 7, 7, 7, cv2.BORDER_REFLECT_101))


def test_the_grid_of_a_patch_lies_anywhere(photo):
    """Steps of brightness from block to block are at all eight places, and as large as in a whole image's file."""
    patch, places = photo[:128, :128], []
    for seed in range(40):
        got = Jpeg(10).apply(patch, rng(seed), Context(whole=False))
        steps = np.abs(np.diff(got.mean(axis=2), axis=0)).mean(axis=1)
        by_place = np.array([steps[place::8].mean() for place in range(8)])
        places.append(by_place.argmax())
        assert by_place.max() > 1.5 * np.median(by_place)
    assert set(places) == set(range(8))


def test_qualities_are_drawn_and_checked(photo):
    one = Jpeg([5, 95])
    assert len({Jpeg.apply(one, photo, rng(seed), Context()).std() for seed in range(5)}) == 5
    with pytest.raises(OptionsError, match='of at least 1 and of at most 100, got 0') as caught:
        build_degradations({'type': 'jpeg', 'quality': 0}, 'd')
    assert caught.value.path == 'd.quality'


def test_a_data_set_of_whole_images_gives_what_their_files_hold(clean_images, sets):
    task = {'dataroot_gt': sets.clean, 'degradation': {'type': 'jpeg', 'quality': 10}}
    item = MixedDegradationDataset({'phase': 'val', 'tasks': {'jpeg': task}})[0]
    expected = jpeg_of(clean_images['astronaut'].astype(np.float32) / 255, 10)
    np.testing.assert_array_equal(item['lq'].numpy(), expected.transpose(2, 0, 1))
    patches = MixedDegradationDataset({'phase': 'train', 'gt_size': 64, 'tasks': {'jpeg': task}})
    first = [patches[number]['lq'].numpy() for number in range(2)]
    assert all((levels(lq) != levels(patches[number]['gt'].numpy())).mean() > 0.5 for number, lq in enumerate(first))
    np.testing.assert_array_equal(first[1], patches[1]['lq'].numpy())
