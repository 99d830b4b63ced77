"""Depth x channels x container x what stands beside: each is kept, converted as docs/restore.md says, or refused."""

from __future__ import annotations

import io
import itertools
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from dinoir_plugin.imaging.decoding import ImageFileError, upright
from dinoir_plugin.imaging.encoding import ENDINGS, check_writable, encode_image, ending_for
from dinoir_plugin.imaging.image_file import DecodedImage, join_alpha, read_image
from dinoir_plugin.imaging.reading import decode_image, image_size, open_image
from tests.imaging import making

DEPTHS = (1, 8, 16, 'float')
REFUSED = {('tif', 16, 'cmyk'): 'SEPARATED', ('tif', 'float', 'cmyk'): 'SEPARATED',
           ('ppm', 'float', 'grey'): 'got mode F', ('ppm', 'float', 'rgb'): 'none|mode|cannot be read'}  # fmt: skip


def cells():
    """All files that there can be."""
    for ending, depth, channels in itertools.product(making.CONTAINERS, DEPTHS, making.CHANNELS):
        for dpi, icc, orientation in itertools.product((None, making.DPI), (False, True), (None, 1, 6)):
            grey = channels.startswith('grey')
            notes = {'dpi': dpi, 'icc': making.PROFILES['grey' if grey else 'rgb'] if icc else None,
                     'orientation': orientation}  # fmt: skip
            data = making.CONTAINERS[ending](depth, channels, **notes)
            if data is not None:
                yield pytest.param(ending, depth, channels, notes, data, id=f'{ending}-{depth}-{channels}-'
                                   f'{"dpi" if dpi else ""}-{"icc" if icc else ""}-{orientation or ""}')  # fmt: skip


ALL = list(cells())


def read_back(data, ending):
    """Read what was written by other means: values, dots to an inch, profile, camera, orientation."""
    if ending == 'tif':
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            (page,) = file.pages
            tags = {tag.code: tag.value for tag in page.tags.values()}
            dpi = None if tags.get(296) != 2 else tuple(across / one for across, one in (tags[282], tags[283]))
            return page.asarray(), (dpi, tags.get(34675), tags.get(271), tags.get(274, 1))
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        in_exif = (exif[282], exif[283]) if 282 in exif else None
        dpi = in_exif if ending == 'webp' else image.info.get('dpi')
        if ending == 'jpg':
            # without JFIF's unit Pillow makes numbers up
            dpi = image.info['jfif_density'] if image.info['jfif_unit'] == 1 else None
        return np.asarray(image), (dpi, image.info.get('icc_profile'), exif.get(271), exif.get(274, 1))


def test_the_product_is_large():
    assert len(ALL) > 350 and {cell.values[0] for cell in ALL} == set(making.CONTAINERS)


@pytest.mark.parametrize(('ending', 'depth', 'channels', 'notes', 'data'), ALL)
def test_report_42_every_kind_is_kept_converted_or_refused(tmp_path, ending, depth, channels, notes, data):
    path = tmp_path / f'x.{ending}'
    path.write_bytes(data)
    reason = REFUSED.get((ending, depth, channels))
    if reason is not None:
        with pytest.raises(ImageFileError, match=f'^{re.escape(str(path))}: expected .*({reason})'):
            read_image(path)
        return
    orientation = notes['orientation'] or 1
    decoded = read_image(path)
    target = ending_for(path)
    assert target == {'bmp': 'png', 'ppm': 'png'}.get(ending, ending)
    written = encode_image(decoded, target, quality=100)
    wanted = upright(making.values(depth, channels), orientation)
    if channels == 'cmyk':
        with Image.open(io.BytesIO(data)) as image:
            wanted = upright(np.asarray(image.convert('RGB')), 1 if ending == 'tif' else orientation)
    deep = depth == 16
    values, (dpi, icc, camera, turn) = read_back(written, target)
    if deep and target == 'png':
        values = join_alpha(read_image_of(written).pixels, read_image_of(written).alpha)
    assert values.dtype == wanted.dtype and turn == 1
    if ending == 'jpg' or channels == 'cmyk':
        assert values.shape == wanted.shape and np.abs(values.astype(int) - wanted).mean() < 12
    else:
        np.testing.assert_array_equal(values, wanted)
    told = None if notes['dpi'] is None else notes['dpi'][:: -1 if orientation == 6 else 1]
    if ending == 'bmp' and channels != 'rgba' and told is None:
        # Pillow's BMPs say 96 always
        told = (96, 96)
    assert (dpi is None) == (told is None) and (told is None or np.allclose([float(n) for n in dpi], told, atol=0.02))
    assert icc == (None if channels == 'cmyk' else notes['icc'])
    assert camera == (making.CAMERA if notes['orientation'] else None)


def read_image_of(data):
    """Read 16 bits of a PNG from bytes; that these are right another test shows."""
    with open_image(data, 'x') as reader:
        values = reader.values()
    alpha = values[..., -1] if reader.header.alpha else None
    return DecodedImage(values[..., :-1].squeeze(-1) if reader.header.channels == 2 else values[..., :3] if
                        values.ndim == 3 else values, alpha)  # fmt: skip


@pytest.mark.parametrize('channels', [name for name in making.PNG_TYPES if not name.startswith('palette')])
def test_16_bits_of_a_png_are_what_the_file_holds(tmp_path, channels):
    (tmp_path / 'x.png').write_bytes(making.png(16, channels))
    decoded = read_image(tmp_path / 'x.png')
    np.testing.assert_array_equal(join_alpha(decoded.pixels, decoded.alpha), making.values(16, channels))


@pytest.mark.parametrize(('ending', 'depth', 'channels', 'notes', 'data'), ALL)
def test_report_29_the_header_decides_as_the_pixels_do(ending, depth, channels, notes, data):
    """What the look at headers accepts is decoded, to that size; what it refuses is refused in the same words."""
    outcomes = []
    for look in (image_size, lambda data, name: decode_image(data, name).shape[:2]):
        try:
            outcomes.append(look(data, f'x.{ending}'))
        except ImageFileError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    trained = depth != 'float' and 'alpha' not in channels and channels != 'rgba'
    if (ending, depth, channels) not in REFUSED:
        assert (outcomes[0] == making.SHAPE[:: -1 if notes['orientation'] == 6 else 1]) == trained


@pytest.mark.parametrize('ending', ['png', 'jpg', 'tif', 'webp'])
@pytest.mark.parametrize('alpha', [False, True])
@pytest.mark.parametrize('grey', [False, True])
@pytest.mark.parametrize('dtype', ['u1', 'u2', 'f4'])
def test_report_42_every_kind_in_every_format(ending, alpha, grey, dtype):
    """Known before the work whether it can be written; what is written says the resolution."""
    shape = making.SHAPE if grey else (*making.SHAPE, 3)
    pixels = (np.random.default_rng(0).random(shape) * (1 if dtype == 'f4' else np.iinfo(dtype).max)).astype(dtype)
    icc = making.PROFILES['grey' if grey else 'rgb']
    clear = (pixels if grey else pixels[..., 0]) if alpha else None
    image = DecodedImage(pixels, clear, icc, None, '', making.DPI)
    can = {'png': dtype != 'f4', 'jpg': dtype == 'u1' and not alpha, 'webp': dtype == 'u1', 'tif': True}[ending]
    if not can:
        with pytest.raises(ImageFileError, match='--format'):
            check_writable(image, ending)
        return
    check_writable(image, ending)
    values, (dpi, found, _, _) = read_back(encode_image(image, ending, quality=100), ending)
    assert np.allclose([float(n) for n in dpi], making.DPI, atol=0.02)
    # WebP knows no grey: a profile for it would be wrong
    assert found == (None if grey and ending == 'webp' else icc)
    assert values.shape[:2] == making.SHAPE


def test_report_42_a_profile_inside_a_bmp_is_carried_over(tmp_path):
    (tmp_path / 'x.bmp').write_bytes(making.bmp_with_alpha(making.DPI, making.PROFILES['rgb']))
    decoded = read_image(tmp_path / 'x.bmp')
    np.testing.assert_array_equal(join_alpha(decoded.pixels, decoded.alpha), making.values(8, 'rgba'))
    assert decoded.icc == making.PROFILES['rgb'] and decoded.resolution == making.DPI


def test_every_ending_of_a_written_format_is_taken():
    image = DecodedImage(making.values(8, 'rgb'))
    for ending in ENDINGS:
        with Image.open(io.BytesIO(encode_image(image, ending))) as read:
            assert read.format == ENDINGS[ending]


@pytest.mark.parametrize(('kind', 'side'), [('jpg', 65501), ('webp', 16384)])
def test_report_48_sides_that_a_format_does_not_hold_are_refused_before_the_work(kind, side):
    with pytest.raises(ImageFileError, match=f'this image is {side}x1: use --format png'):
        check_writable(DecodedImage(np.zeros((1, side, 3), np.uint8)), kind)
