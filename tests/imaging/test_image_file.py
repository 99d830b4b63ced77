"""What files hold is kept: depth, grey, transparency, orientation, profile; and what is no image gets a message."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from dinoir_plugin.imaging.decoding import ImageFileError, upright
from dinoir_plugin.imaging.encoding import ENDINGS, encode_image
from dinoir_plugin.imaging.image_file import (
    DecodedImage,
    from_pillow,
    join_alpha,
    read_image,
    split_alpha,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
DATE = 0x9003


def camera(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = 'Camera'
    exif.get_ifd(0x8769).update({DATE: '2020:01:01 00:00:00', 0xA002: 120, 0xA003: 100})
    exif.get_ifd(0x8825)[1] = 'N'
    return exif


@pytest.mark.parametrize('shape', [(20, 30), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize(
    ('kind', 'ending'),
    [('u1', 'png'), ('u1', 'tif'), ('u1', 'webp'), ('u2', 'png'), ('u2', 'tif'), ('f4', 'tif')],
)
def test_values_are_written_and_read_without_loss(tmp_path, shape, kind, ending):
    random = np.random.default_rng(0).random(shape)
    values = (random * (1 if kind == 'f4' else np.iinfo(kind).max)).astype(kind)
    written = DecodedImage(*split_alpha(values), icc=SRGB)
    (tmp_path / f'x.{ending}').write_bytes(encode_image(written, ending, quality=100))
    read = read_image(tmp_path / f'x.{ending}')
    found = join_alpha(read.pixels, read.alpha)
    if ending == 'webp':
        # WebP knows no grey
        assert read.pixels.shape[2] == 3 and (read.alpha is not None) == (shape[2:] in ((2,), (4,)))
    else:
        np.testing.assert_array_equal(found, values)
    assert read.icc == SRGB
    assert read.pixels.dtype == kind


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tif'])
def test_images_lie_upright_and_keep_profile_and_exif(tmp_path, photo, orientation, ending):
    path = tmp_path / f'x.{ending}'
    options = {'quality': 100, 'subsampling': 0} if ending == 'jpg' else {'lossless': True} if ending == 'webp' else {}
    Image.fromarray(photo).save(path, exif=camera(orientation).tobytes(), icc_profile=SRGB, **options)
    decoded = read_image(path)
    assert np.abs(decoded.pixels.astype(int) - upright(photo, orientation)).mean() < 1
    assert decoded.pixels.shape[:2] == ((120, 100) if orientation > 4 else (100, 120))[::1]
    for target in ('jpg', 'png', 'webp'):
        stream = io.BytesIO(encode_image(decoded, target))
        with Image.open(stream) as image:
            exif = image.getexif()
            assert image.info['icc_profile'] == SRGB and exif[274] == 1 and exif[271] == 'Camera'
            taken = {DATE: '2020:01:01 00:00:00', 0xA002: image.width, 0xA003: image.height}
            assert dict(exif.get_ifd(0x8769)) == taken
            assert dict(exif.get_ifd(0x8825)) == {1: 'N'}
            assert image.size == decoded.pixels.shape[1::-1]
    with tifffile.TiffFile(io.BytesIO(encode_image(decoded, 'tif'))) as file:
        assert file.pages[0].tags['InterColorProfile'].value == SRGB and file.pages[0].tags['Make'].value == 'Camera'


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_deep_tiffs_and_pngs_lie_upright(tmp_path, photo, orientation):
    deep = photo.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / 'x.tif', deep, photometric='rgb', extratags=[(274, 'H', 1, orientation, True)])
    np.testing.assert_array_equal(read_image(tmp_path / 'x.tif').pixels, upright(deep, orientation))
    turned = DecodedImage(deep, icc=SRGB, exif=camera(orientation).tobytes())
    (tmp_path / 'x.png').write_bytes(encode_image(turned, 'png'))
    read = read_image(tmp_path / 'x.png')
    np.testing.assert_array_equal(read.pixels, upright(deep, orientation))
    assert read.icc == SRGB


def test_the_grey_that_stands_for_nothing_is_transparent(tmp_path):
    grey = np.array([[0, 700, 65535], [700, 701, 7]], np.uint16)
    data = cv2.imencode('.png', grey)[1].tobytes()
    chunk = b'tRNS' + struct.pack('>H', 700)
    chunk = struct.pack('>I', 2) + chunk + struct.pack('>I', zlib.crc32(chunk))
    (tmp_path / 'x.png').write_bytes(data[:33] + chunk + data[33:])
    read = read_image(tmp_path / 'x.png')
    np.testing.assert_array_equal(read.pixels, grey)
    assert read.alpha.dtype == np.uint16
    np.testing.assert_array_equal(read.alpha, [[65535, 0, 65535], [0, 65535, 65535]])


def test_a_thumbnail_of_the_degraded_image_does_not_come_along(tmp_path, photo):
    exif = camera(1)
    thumbnail = io.BytesIO()
    Image.fromarray(photo).save(thumbnail, 'JPEG')
    # IFD1 behind an IFD0 of one entry, as cameras write it
    data = exif.tobytes()
    Image.fromarray(photo).save(tmp_path / 'x.jpg', exif=data + thumbnail.getvalue())
    assert len(read_image(tmp_path / 'x.jpg').exif) < len(data) + 100


def test_channels_apart_and_tiffs_that_say_strange_things(tmp_path, photo):
    deep = photo.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / 'x.tif', deep.transpose(2, 0, 1), photometric='rgb', planarconfig='separate')
    np.testing.assert_array_equal(read_image(tmp_path / 'x.tif').pixels, deep)
    tifffile.imwrite(tmp_path / 'x.tif', deep, photometric='rgb', extratags=[(34675, 's', 0, 'no profile', True)])
    assert read_image(tmp_path / 'x.tif').icc is None
    clear = np.dstack([deep, deep[..., 0]])
    tifffile.imwrite(tmp_path / 'x.tif', clear, photometric='rgb', extrasamples=['assocalpha'])
    with pytest.raises(ImageFileError, match='not multiplied in'):
        read_image(tmp_path / 'x.tif')


@pytest.mark.parametrize(('white', 'depth'), [(255, 'u1'), (65535, '>u2')])
def test_pgm_of_both_depths_and_those_between(tmp_path, white, depth):
    header = b'P5\n# a comment\n8 8\n'
    (tmp_path / 'x.pgm').write_bytes(header + f'{white}\n'.encode() + np.full((8, 8), white, depth).tobytes())
    assert (read_image(tmp_path / 'x.pgm').pixels == white).all()
    half = white // 2
    (tmp_path / 'x.pgm').write_bytes(header + f'{half}\n'.encode() + np.full((8, 8), half, depth).tobytes())
    pixels = read_image(tmp_path / 'x.pgm').pixels
    assert (pixels == white).all() and pixels.dtype.itemsize == np.dtype(depth).itemsize
    (tmp_path / 'x.pgm').write_bytes(header + f'{half}\n'.encode() + np.full((8, 8), half + 1, depth).tobytes())
    with pytest.raises(ImageFileError, match=f'says {half} for white, but it has values up to {half + 1}'):
        read_image(tmp_path / 'x.pgm')


def test_names_keep_their_letters_and_strange_exif_costs_no_image(tmp_path, photo):
    exif = Image.Exif()
    exif[315] = 'Jürgen ©'.encode()
    Image.fromarray(photo).save(tmp_path / 'x.jpg', exif=exif.tobytes())
    for ending in ('jpg', 'png', 'webp', 'tif'):
        data = encode_image(read_image(tmp_path / 'x.jpg'), ending)
        assert 'Jürgen ©'.encode() in data
    exif[274] = 99
    Image.fromarray(photo).save(tmp_path / 'x.jpg', exif=exif.tobytes())
    assert read_image(tmp_path / 'x.jpg').pixels.shape == photo.shape


def test_cmyk_becomes_rgb_and_loses_its_profile(tmp_path, photo):
    for ending in ('jpg', 'tif'):
        Image.fromarray(photo).convert('CMYK').save(tmp_path / f'x.{ending}', icc_profile=b'no profile at all')
        decoded = read_image(tmp_path / f'x.{ending}')
        assert decoded.icc is None and decoded.pixels.shape == photo.shape
        assert np.abs(decoded.pixels.astype(int) - photo).mean() < 3


@pytest.mark.parametrize(
    ('mode', 'shape', 'alpha'),
    [('1', 2, False), ('L', 2, False), ('LA', 2, True), ('P', 3, False), ('RGBA', 3, True), ('YCbCr', 3, False)],
)
def test_modes_of_pillow(photo, mode, shape, alpha):
    decoded = from_pillow(Image.fromarray(photo).convert(mode))
    assert decoded.pixels.ndim == shape and (decoded.alpha is not None) == alpha


def make_bad(tmp_path, photo):
    """Files that are no images to restore, and a part of the message about each."""
    image, other = Image.fromarray(photo), Image.fromarray(photo[::-1])
    floats = photo / np.float32(255)
    image.save(tmp_path / 'anim.gif', save_all=True, append_images=[other])
    image.save(tmp_path / 'moving.webp', save_all=True, append_images=[other])
    image.save(tmp_path / 'moves.png', save_all=True, append_images=[other])
    image.save(tmp_path / 'pages.tif', save_all=True, append_images=[other])
    tifffile.imwrite(tmp_path / 'deep_pages.tif', np.stack([photo, photo]).astype(np.uint16), photometric='rgb')
    tifffile.imwrite(tmp_path / 'nan.tif', floats * np.nan, photometric='rgb')
    tifffile.imwrite(tmp_path / 'range.tif', floats * 255, photometric='rgb')
    tifffile.imwrite(tmp_path / 'ints.tif', photo.astype(np.int32), photometric='rgb')
    tifffile.imwrite(tmp_path / 'white.tif', photo[..., 0].astype(np.uint16), photometric='miniswhite')
    image.convert('LAB').save(tmp_path / 'lab.tif')
    image.save(tmp_path / 'whole.jpg', quality=95)
    image.save(tmp_path / 'whole.png')
    cv2.imwrite(str(tmp_path / 'deep.png'), photo.astype(np.uint16))
    for name in ('whole.jpg', 'whole.png', 'deep.png', 'nan.tif', 'white.tif'):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f'cut_{name[-3:]}_{name}').write_bytes(data[: len(data) // 2])
        (tmp_path / f'start_{name[-3:]}_{name}').write_bytes(data[:12])
    for name in ('whole.jpg', 'whole.png', 'deep.png'):
        (tmp_path / name).unlink()
    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack('>I', 13) + b'IHDR' + header + struct.pack('>I', zlib.crc32(b'IHDR' + header))
    (tmp_path / 'bomb.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk)
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'text.png').write_text('hello ' * 1000)
    (tmp_path / 'folder.png').mkdir()
    return {
        'anim.gif': 'holds 2', 'moving.webp': 'holds 2', 'moves.png': 'holds 2', 'pages.tif': 'holds 2',
        'deep_pages.tif': 'holds 2', 'nan.tif': 'NaN', 'range.tif': 'from 0 to 1', 'ints.tif': 'int32',
        'empty.png': 'is empty', 'text.png': 'it is none', 'folder.png': 'a folder', 'white.tif': 'MINISWHITE',
    }  # fmt: skip


def test_what_is_no_image_gets_a_message(tmp_path, photo):
    messages = make_bad(tmp_path, photo)
    for path in tmp_path.iterdir():
        with pytest.raises(ImageFileError, match=f'{path.name}: .*{messages.get(path.name, "")}'):
            read_image(path)
    with pytest.raises(ImageFileError, match='no such file'):
        read_image(tmp_path / 'missing.png')


@pytest.mark.parametrize('kind', ['PCX', 'ICO', 'TGA', 'SGI'])
def test_formats_that_are_not_said_to_be_read_are_not(tmp_path, photo, kind):
    Image.fromarray(photo).save(tmp_path / 'x.png', kind)
    with pytest.raises(ImageFileError, match=r'x\.png: expected an image .* but it is none'):
        read_image(tmp_path / 'x.png')


@pytest.mark.parametrize('ending', sorted(ENDINGS))
def test_what_a_format_cannot_hold_is_refused_with_a_remedy(ending):
    plain = np.zeros((4, 4, 3), np.uint8)
    cannot = {'JPEG': ('alpha', 'deep', 'float'), 'PNG': ('float',), 'WEBP': ('deep', 'float'), 'TIFF': ()}
    cannot = cannot[ENDINGS[ending]]
    images = {
        'alpha': DecodedImage(plain, plain[..., 0]),
        'deep': DecodedImage(plain.astype(np.uint16)),
        'float': DecodedImage(plain.astype(np.float32)),
    }
    for name, decoded in images.items():
        if name in cannot:
            with pytest.raises(ImageFileError, match='--format'):
                encode_image(decoded, ending)
        else:
            assert encode_image(decoded, ending)


def test_quality_is_as_asked(photo):
    sizes = [len(encode_image(DecodedImage(photo), 'jpg', quality)) for quality in (30, 60, 95, 100)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 3
    with Image.open(io.BytesIO(encode_image(DecodedImage(photo), 'jpg', 100))) as image:
        assert np.abs(np.asarray(image).astype(int) - photo).mean() < 1
