"""The one reader of image files: what headers say, odd files, and files of several images."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from dinoir_plugin.imaging import formats, reading
from dinoir_plugin.imaging.decoding import ImageFileError, stored_size, to_rgb_float, upright
from dinoir_plugin.imaging.image_file import check_values, join_alpha, read_image
from dinoir_plugin.imaging.reading import decode_image, image_size, open_image
from tests.imaging import making
from tests.imaging.making import SHAPE, saved


def values(data, number=0):
    with open_image(data, 'x', number) as reader:
        return reader.values()


def both_refuse(data, match):
    """Header and pixels, in the same words."""
    for look in (image_size, decode_image):
        with pytest.raises(ImageFileError, match=match):
            look(data, 'x')


def pnm(mark, white, pixels, text=False, comment=b''):
    size = f'{pixels.shape[1]} {pixels.shape[0]}\n'.encode()
    body = b' '.join(str(n).encode() for n in pixels.ravel()) if text else pixels.tobytes()
    return mark + b'\n' + comment + size + f'{white}\n'.encode() + body


@pytest.mark.parametrize('white', [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize('mark', [b'P2', b'P3', b'P5', b'P6'])
def test_report_30_white_is_white_whatever_number_stands_for_it(white, mark):
    shape = (*SHAPE, 3) if mark in (b'P3', b'P6') else SHAPE
    stored = np.random.default_rng(0).integers(0, white + 1, shape)
    stored.flat[:2] = 0, white
    data = pnm(mark, white, stored.astype('u1' if white < 256 else '>u2'), mark in (b'P2', b'P3'), b'# a\n#b\n')
    got = to_rgb_float(decode_image(data, 'x'))
    full = 255 if white < 256 else 65535
    expected = stored if stored.ndim == 3 else stored[..., None]
    assert np.abs(got - expected / white).max() <= 0.5 / full + 1e-6
    assert got.min() == 0 and got.max() == 1
    assert image_size(data, 'x') == SHAPE


def test_report_30_pnm_that_cannot_be_read_is_refused_everywhere():
    pixels = np.full(SHAPE, 101, np.uint8)
    for look in (lambda data: decode_image(data, 'x'), lambda data: values(data)):
        with pytest.raises(ImageFileError, match='says 100 for white, but it has values up to 101'):
            look(pnm(b'P5', 100, pixels))
        with pytest.raises(ImageFileError, match='its end is missing'):
            look(pnm(b'P5', 255, pixels)[:-1])
        with pytest.raises(ImageFileError, match='its end is missing'):
            look(pnm(b'P2', 255, pixels, True)[:-4])
    both_refuse(pnm(b'P5', 65536, pixels), 'expected 1 to 65535 for white, got 65536')
    both_refuse(pnm(b'P5', 255, pixels) + b'\n' + pnm(b'P6', 15, np.zeros((*SHAPE, 3), 'u1')), 'holds 2 images')
    both_refuse(pnm(b'P5', 255, np.zeros((0, 4), np.uint8)), '4x0 pixels')


TRANSPARENT = {
    'palette': making.png(8, 'palette+alpha'), 'palette of 2': making.png(1, 'palette+alpha'),
    'rgb': making.png(8, 'rgb', clear=b'\0\1\0\2\0\3'), 'rgb 16': making.png(16, 'rgb', clear=b'\0\1\0\2\0\3'),
    'grey': making.png(8, 'grey', clear=b'\0\7'), 'grey 1': making.png(1, 'grey', clear=b'\0\1'),
    'grey 16': making.png(16, 'grey', clear=b'\0\7'), 'grey+alpha': making.png(8, 'grey+alpha'),
    'rgba 16': making.png(16, 'rgba'),
    'gif': saved(Image.fromarray(making.indices(8)).convert('P'), 'GIF', transparency=3),
    'tif': making.tiff(8, 'rgba'), 'tif 16': making.tiff(16, 'grey+alpha'), 'bmp': making.bmp_with_alpha(None),
    'webp': making.webp(8, 'rgba'),
}  # fmt: skip


@pytest.mark.parametrize('kind', TRANSPARENT)
def test_report_29_transparency_of_every_kind_is_known_from_the_header(kind):
    both_refuse(TRANSPARENT[kind], r'x: expected grey or colour, got [24] channels .* without an alpha channel')


def test_report_29_inks_are_read_and_odd_numbers_are_not():
    ink = making.tiff(8, 'cmyk')
    assert image_size(ink, 'x') == decode_image(ink, 'x').shape[:2] == SHAPE
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros(SHAPE, np.int32))
    both_refuse(stream.getvalue(), 'got int32')
    both_refuse(making.tiff('float', 'rgb'), 'got float32')
    both_refuse(saved(Image.new('LAB', (4, 4)), 'TIFF'), 'got mode LAB')
    both_refuse(making.pnm('float', 'grey'), 'got mode F')
    image = Image.fromarray(making.values(8, 'rgb'))
    for kind in ('TIFF', 'GIF', 'WEBP', 'PNG'):
        both_refuse(saved(image, kind, save_all=True, append_images=[image.rotate(180)]), 'holds 2 images')
    with pytest.raises(ImageFileError, match=r'PCX|but it is none'):
        image_size(saved(image, 'PCX'), 'x')


def test_bits_that_are_not_a_whole_type_are_refused(tmp_path):
    imagecodecs = pytest.importorskip('imagecodecs')  # tifffile packs bits by it
    assert imagecodecs
    stream = io.BytesIO()
    tifffile.imwrite(stream, making.values(16, 'grey') >> 4, bitspersample=12, photometric='minisblack')
    both_refuse(stream.getvalue(), '12 bits used')


@pytest.mark.parametrize('last', [False, True])
@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('depth', [8, 16])
def test_a_png_is_turned_wherever_its_exif_stands(depth, orientation, last):
    data = making.png(depth, 'rgb', orientation=orientation, exif_last=last)
    wanted = upright(making.values(depth, 'rgb'), orientation)
    np.testing.assert_array_equal(decode_image(data, 'x')[..., ::-1], wanted)
    assert image_size(data, 'x') == wanted.shape[:2]


@pytest.mark.parametrize(('depth', 'clear'), [(1, 1), (2, 2), (4, 9), (8, 77), (16, 777)])
def test_the_grey_that_stands_for_nothing_is_found_in_all_depths(depth, clear):
    stored = np.random.default_rng(1).integers(0, 1 << depth, (4, 8)).astype(np.uint16)
    stored[0, 0] = clear
    if depth == 16:
        rows = stored.astype('>u2').view(np.uint8)
    else:
        bits = np.unpackbits(stored.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(4, -1), axis=1)
    data = making.chunk(b'IDAT', zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows)))
    header = making.chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 4, depth, 0, 0, 0, 0))
    mark = making.chunk(b'tRNS', struct.pack('>H', clear))
    found = values(b'\x89PNG\r\n\x1a\n' + header + mark + data + making.chunk(b'IEND', b''))
    full = 65535 if depth == 16 else 255
    np.testing.assert_array_equal(found[..., 0], stored.astype(int) * full // ((1 << depth) - 1))
    np.testing.assert_array_equal(found[..., 1], np.where(stored == clear, 0, full))


def test_a_fourth_channel_of_no_stated_kind_is_kept_in_all_depths(tmp_path):
    for depth in (8, 16, 'float'):
        pixels = making.values(depth, 'rgba')
        tifffile.imwrite(tmp_path / 'x.tif', pixels, photometric='rgb', extrasamples=['unspecified'], metadata=None)
        decoded = read_image(tmp_path / 'x.tif')
        np.testing.assert_array_equal(join_alpha(decoded.pixels, decoded.alpha), pixels)


def test_previews_are_no_pages_and_pages_are_read_one_by_one(tmp_path):
    pages = [making.values(depth, channels) for depth, channels in ((8, 'rgb'), (16, 'grey'), ('float', 'rgba'))]
    with tifffile.TiffWriter(tmp_path / 'x.tif') as file:
        for page in pages:
            kind = 'minisblack' if page.ndim == 2 else 'rgb'
            file.write(page, photometric=kind, metadata=None, contiguous=False,
                       extrasamples=['unassalpha'] if page.shape[2:] == (4,) else None)  # fmt: skip
            file.write(page[:3, :5], photometric=kind, metadata=None, subfiletype=1, contiguous=False,
                       extrasamples=['unassalpha'] if page.shape[2:] == (4,) else None)  # fmt: skip
    for number, page in enumerate(pages):
        decoded = read_image(tmp_path / 'x.tif', number)
        np.testing.assert_array_equal(join_alpha(decoded.pixels, decoded.alpha), page)
    with pytest.raises(ImageFileError, match='holds 3 images'):
        read_image(tmp_path / 'x.tif')
    with pytest.raises(ImageFileError, match='holds 3 images, there is no number 4'):
        read_image(tmp_path / 'x.tif', 3)


def test_frames_of_an_animation_are_read_one_by_one(tmp_path):
    frames = [Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (0, 100, 200)]
    for ending, options in (('webp', {'lossless': True}), ('png', {}), ('gif', {})):
        frames[0].save(tmp_path / f'x.{ending}', save_all=True, append_images=frames[1:], duration=100, **options)
        for number, grey in enumerate((0, 100, 200)):
            assert (read_image(tmp_path / f'x.{ending}', number).pixels == grey).all()


@pytest.mark.parametrize('width', range(1, 9))
@pytest.mark.parametrize('up', [1, -1])
def test_plain_bmps_are_read_as_pillow_reads_them(width, up):
    pixels = np.random.default_rng(width).integers(0, 256, (3, width, 3)).astype(np.uint8)
    data = saved(Image.fromarray(pixels[::up]), 'BMP')
    data = data[:22] + struct.pack('<i', 3 * up) + data[26:]
    np.testing.assert_array_equal(decode_image(data, 'x')[..., ::-1], pixels)
    assert image_size(data, 'x') == stored_size(data) == (3, width)
    with pytest.raises(ImageFileError, match='its end is missing'):
        decode_image(data[: 54 + 3 * width], 'x')


def test_content_counts_and_not_the_ending(tmp_path):
    for ending, data in (('png', making.jpeg(8, 'rgb')), ('jpg', making.png(8, 'rgb')), ('bmp', making.tiff(8, 'rgb'))):
        (tmp_path / f'x.{ending}').write_bytes(data)
        assert read_image(tmp_path / f'x.{ending}').pixels.shape == (*SHAPE, 3)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(reading, 'READABLE', formats.FORMATS)
    for start, module in ((b'\0\0\0\x18ftypheic\0\0\0\0', 'pillow_heif'), (b'\xff\x0a' + bytes(20), 'pillow_jxl')):
        both_refuse(start, rf'{module}, which is not installed: pip install .dinoir_plugin\[formats\]')


@pytest.mark.parametrize(('value', 'told'), [(1 + 1e-7, 'got 0 to 1.0000001'), (-1e-30, 'got -1e-30 to 0'),
                                             (255.0, 'got 0 to 255')])  # fmt: skip
def test_numbers_are_told_with_the_digits_that_matter(value, told):
    with pytest.raises(ImageFileError, match=told):
        check_values(np.array([0, value]), 'x')
    with pytest.raises(ImageFileError, match='1 of its 1000 values'):
        check_values(np.where(np.arange(1000) == 3, np.nan, 0.5), 'x')


@pytest.mark.parametrize('ending', sorted(making.CONTAINERS))
def test_damaged_files_are_refused_as_image_errors_only(ending):
    random = np.random.default_rng(0)
    wholes = [data for depth in (8, 16) if (data := making.CONTAINERS[ending](depth, 'rgb')) is not None]
    for data in wholes:
        for _ in range(150):
            damaged = bytearray(data)
            for place in random.integers(0, len(data), 3):
                damaged[place] = random.integers(0, 256)
            damaged = bytes(damaged[: random.integers(1, len(data) + 1)])
            for look in (image_size, decode_image):
                try:
                    look(damaged, 'x')
                except ImageFileError as error:
                    assert str(error).startswith('x: ')


@pytest.mark.parametrize(('ending', 'kind', 'module'), [('avif', 'AVIF', 'PIL'), ('heic', 'HEIF', 'pillow_heif'),
                                                        ('jxl', 'JXL', 'pillow_jxl')])  # fmt: skip
def test_formats_of_other_packages_are_read(tmp_path, ending, kind, module):
    pytest.importorskip(module)
    if kind not in formats.READABLE:
        pytest.skip(f'no {kind} here')
    formats.register_plugins()
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8] = 255
    Image.fromarray(pixels).save(tmp_path / f'x.{ending}', quality=95)
    decoded = read_image(tmp_path / f'x.{ending}')
    assert decoded.format == kind and np.abs(decoded.pixels.astype(int) - pixels).mean() < 4
    assert image_size(tmp_path / f'x.{ending}') == (16, 24)
