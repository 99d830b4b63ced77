"""Strict decoding, and the places and names of sub-images."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from dinoir_plugin.datasets.image_files import cut_pieces, decode_strictly, first_key, piece_key, positions
from dinoir_plugin.datasets.recipe import Recipe


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_turning_marks_are_obeyed(photograph):
    image = Image.fromarray(photograph(0))
    for mark in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = mark
        turned = decode_strictly(saved(image, 'JPEG', exif=exif, quality=95), 'image')
        assert turned.shape == ((60, 40, 3) if mark > 4 else (40, 60, 3))
    plain = decode_strictly(saved(image, 'JPEG', quality=95), 'image')
    exif = Image.Exif()
    exif[0x112] = 6
    np.testing.assert_array_equal(
        decode_strictly(saved(image, 'JPEG', exif=exif, quality=95), 'image'), np.rot90(plain, -1)
    )


def test_palette_and_grey_become_colour(photograph):
    image = Image.fromarray(photograph(1)[..., ::-1])
    palette = image.quantize(16)
    got = decode_strictly(saved(palette, 'PNG'), 'image')
    np.testing.assert_array_equal(got[..., ::-1], np.asarray(palette.convert('RGB')))
    grey = image.convert('L')
    for kind in ('PNG', 'TIFF', 'BMP'):
        got = decode_strictly(saved(grey, kind), 'image')
        np.testing.assert_array_equal(got, np.repeat(np.asarray(grey)[..., None], 3, axis=2))
    assert decode_strictly(saved(grey, 'JPEG'), 'image').shape == (40, 60, 3)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_sixteen_bits_stay(photograph, suffix):
    deep = photograph(0).astype(np.uint16) * 257 + 3
    got = decode_strictly(cv2.imencode(suffix, deep)[1].tobytes(), 'image')
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, deep)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp'])
def test_truncated_files_are_refused(photograph, suffix):
    whole = cv2.imencode(suffix, photograph(0))[1].tobytes()
    for part in (b'', whole[:20], whole[: len(whole) // 2], whole[:-50]):
        with pytest.raises(ValueError, match=r'^some/image: '):
            decode_strictly(part, 'some/image')


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P'])
def test_alpha_is_refused(photograph, mode):
    image = Image.fromarray(photograph(0))
    options = {}
    if mode == 'P':
        image, options = image.quantize(8), {'transparency': 0}
    with pytest.raises(ValueError, match='without an alpha channel'):
        decode_strictly(saved(image.convert(mode), 'PNG', **options), 'image')


@pytest.mark.parametrize(
    ('length', 'expected'), [(256, [0]), (448, [0, 192]), (481, [0, 192, 225]), (321, [0, 65]), (257, [0, 1])]
)
def test_windows_cover_the_image_as_basicsr_cuts(length, expected):
    assert positions(length, 256, 192) == expected


def test_sub_images_are_numbered_row_by_row(photograph):
    image = photograph(2)
    pieces = dict(cut_pieces('a/b', image, (32, 24), many_to_one=False))
    assert list(pieces) == [f'a/b_s{number:03d}' for number in range(1, 7)]
    np.testing.assert_array_equal(pieces['a/b_s002'], image[:32, 24:56])
    np.testing.assert_array_equal(pieces['a/b_s006'], image[-32:, -32:])
    (key, whole), = cut_pieces('a', image, (50, 24), many_to_one=False)
    assert key == 'a_s001'
    assert whole is image


def test_numbers_stand_before_the_underscore_where_that_names_the_clean_image():
    assert piece_key('0001_0.8_0.2', 12, many_to_one=True) == '0001s012_0.8_0.2'
    assert piece_key('0001', 12, many_to_one=True) == '0001s012'


@pytest.mark.parametrize('many_to_one', [False, True])
@pytest.mark.parametrize('sub_images', [None, (32, 24), (500, 400)])
def test_the_first_record_of_an_image_is_the_one_that_is_looked_for(photograph, sub_images, many_to_one):
    pieces = cut_pieces('1400_4', photograph(0), sub_images, many_to_one)
    assert first_key('1400_4', Recipe('png', sub_images), many_to_one) == pieces[0][0]
