"""Bytes of files as people have them: what can be used is decoded, what cannot is named."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dinoir_plugin.imaging.decoding import to_rgb_float
from dinoir_plugin.imaging.reading import decode_image


def saved(image, **how):
    stream = io.BytesIO()
    image.save(stream, **how)
    return stream.getvalue()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_jpeg_with_exif_rotation_comes_upright(photo, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(Image.fromarray(photo), format='JPEG', exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as image:
        # Pillow's own reading of the mark, which is not ours
        expected = np.asarray(ImageOps.exif_transpose(image).convert('RGB'), np.float32) / 255
    ours = to_rgb_float(decode_image(data, 'x'))
    assert ours.shape == expected.shape
    # the decoders round differently
    assert np.abs(ours - expected).mean() < 0.01


def test_grey_palette_webp_and_16_bits(photo):
    grey = Image.fromarray(photo).convert('L')
    np.testing.assert_array_equal(to_rgb_float(decode_image(saved(grey, format='PNG'), 'x'))[..., 1],
                                  np.asarray(grey, np.float32) / 255)
    palette = Image.fromarray(photo).convert('P')
    np.testing.assert_array_equal(to_rgb_float(decode_image(saved(palette, format='PNG'), 'x')),
                                  np.asarray(palette.convert('RGB'), np.float32) / 255)
    webp = saved(Image.fromarray(photo), format='WEBP', lossless=True)
    np.testing.assert_array_equal(to_rgb_float(decode_image(webp, 'x')), photo.astype(np.float32) / 255)
    deep = photo.astype(np.uint16) * 257
    for suffix in ('.png', '.tiff'):
        data = cv2.imencode(suffix, deep[..., ::-1])[1].tobytes()
        np.testing.assert_allclose(to_rgb_float(decode_image(data, 'x')), photo / 255, atol=1e-6)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.bmp', '.tiff'])
@pytest.mark.parametrize('part', [0.0, 0.4, 0.95])
def test_a_truncated_file_is_named(photo, suffix, part):
    data = cv2.imencode(suffix, photo)[1].tobytes()
    with pytest.raises(ValueError, match=r'bad\.file: expected an image'):
        decode_image(data[: int(len(data) * part)], 'bad.file')


def test_a_truncated_jpeg_with_a_whole_thumbnail_is_named(photo):
    thumbnail = saved(Image.fromarray(photo).resize((32, 24)), format='JPEG')
    jpeg = saved(Image.fromarray(photo), format='JPEG')
    block = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    data = jpeg[:2] + block + jpeg[2:]
    assert decode_image(data, 'x').shape == photo.shape
    with pytest.raises(ValueError, match='Is the file whole'):
        decode_image(data[:-200], 'x')


def test_a_jpeg_may_have_more_behind_its_end_but_not_less_before_it(photo):
    jpeg = saved(Image.fromarray(photo), format='JPEG')
    np.testing.assert_array_equal(decode_image(jpeg + b'and more', 'x'), decode_image(jpeg, 'x'))
    comment = b'\xff\xfe\x00\x04\xff\xd9'
    assert decode_image(jpeg[:2] + comment + jpeg[2:], 'x').shape == photo.shape
    for data in (jpeg, jpeg[:2] + comment + jpeg[2:]):
        for length in (2, 3, 10, len(jpeg) // 2, len(data) - 200):
            with pytest.raises(ValueError, match=r'^x: expected an image'):
                decode_image(data[:length], 'x')


def test_alpha_and_text_are_named(photo):
    with pytest.raises(ValueError, match=r'x\.png.*alpha'):
        decode_image(saved(Image.fromarray(photo).convert('RGBA'), format='PNG'), 'x.png')
    with pytest.raises(ValueError, match=r'x\.png: expected an image'):
        decode_image(b'these are words', 'x.png')


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.jpg', '.tif', '.webp'])
def test_an_image_that_claims_to_be_enormous_is_refused_before_it_is_decoded(photo, suffix, monkeypatch):
    data = cv2.imencode(suffix, photo)[1].tobytes()
    assert decode_image(data, 'x').shape == photo.shape
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', photo[..., 0].size // 2 - 1)
    with pytest.raises(ValueError, match=rf'^x: .*{photo[..., 0].size - 2} pixels|^x: claims .* more than the'):
        decode_image(data, 'x')
