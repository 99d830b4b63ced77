"""Before and after, side by side."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from dinoir_plugin.imaging.image_file import DecodedImage
from dinoir_plugin.restore.comparison import comparison, eight_bits

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def test_both_stand_below_their_titles_with_a_gap_between():
    before, after = np.full((60, 80, 3), 40, np.uint8), np.full((60, 80, 3), (200, 80, 80), np.uint8)
    with Image.open(io.BytesIO(comparison(DecodedImage(before), DecodedImage(after, icc=SRGB)))) as image:
        assert image.format == 'JPEG' and image.size == (2 * 80 + 8, 60 + 34) and image.info['icc_profile'] == SRGB
        found = np.asarray(image).astype(int)
    assert abs(found[34:, :80] - 40).max() < 12 and abs(found[34:, 88:] - (200, 80, 80)).max() < 12
    # titles in black on white, and the gap white
    for left in (0, 88):
        dark = np.flatnonzero((found[:34, left : left + 80] < 100).any(axis=(1, 2)))
        assert 12 <= dark[-1] - dark[0] <= 20
    assert np.median(found[:34]) > 250 and np.median(found[34:, 80:88]) > 250


def test_large_images_become_smaller_ones_and_plain_ones_have_no_profile():
    large = DecodedImage(np.zeros((100, 3200), np.uint16), np.zeros((100, 3200), np.uint16))
    with Image.open(io.BytesIO(comparison(large, large))) as image:
        assert image.size == (2 * 1600 + 8, 50 + 34) and 'icc_profile' not in image.info


@pytest.mark.parametrize(
    'pixels',
    [np.array([[0, 127, 255]], np.uint8), np.array([[0, 127.4, 254.6]], np.float32) / np.float32(255),
     np.array([[100, 127 * 257 - 100, 65535]], np.uint16)],
)  # fmt: skip
def test_values_are_rounded_to_eight_bits(pixels):
    values = eight_bits(pixels)
    assert values.dtype == np.uint8 and values.tolist() == [[0, 127, 255]]
