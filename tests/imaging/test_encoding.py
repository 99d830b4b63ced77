"""What stands in files beside the pixels, and how they are packed."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from dinoir_plugin.imaging.decoding import ImageFileError
from dinoir_plugin.imaging.encoding import check_format, encode_image, ending_for
from dinoir_plugin.imaging.image_file import DecodedImage

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def noted():
    exif = Image.Exif()
    exif[271], exif[282], exif[283], exif[296], exif[305] = 'Camera', 300.0, 240.0, 3, 'Editor'
    return exif


@pytest.mark.parametrize(
    ('name', 'wanted', 'ending'),
    [('a.JPG', None, 'jpg'), ('a.jpe', None, 'jpg'), ('a.gif', None, 'png'), ('a', None, 'png'), ('a.b', 'tif', 'tif')],
)
def test_an_image_keeps_its_ending_where_it_can_be_written(name, wanted, ending):
    assert ending_for(Path(name), wanted) == ending


def test_formats_are_found_by_their_endings():
    assert [check_format(name) for name in ('PNG', '.Tiff', 'jpeg')] == ['png', 'tiff', 'jpeg']
    with pytest.raises(ImageFileError, match=r"not written as '\.jpgg'; did you mean 'jpg'"):
        check_format('.jpgg')


@pytest.mark.parametrize('alpha', [False, True])
@pytest.mark.parametrize(('kind', 'photometric'), [((9, 7), 1), ((9, 7, 3), 2)])
def test_a_tiff_says_what_its_channels_are_and_how_large_it_prints(kind, photometric, alpha):
    values = np.random.default_rng(0).integers(0, 65536, kind).astype(np.uint16)
    clear = values[..., 0] if values.ndim == 3 else values
    decoded = DecodedImage(values, clear if alpha else None, SRGB, noted().tobytes())
    with tifffile.TiffFile(io.BytesIO(encode_image(decoded, 'tif'))) as file:
        (page,) = file.pages
        assert page.photometric == photometric and page.compression == 8 and page.planarconfig == 1
        assert tuple(page.extrasamples) == ((2,) if alpha else ())
        tags = {tag.name: tag.value for tag in page.tags.values()}
    assert tags['Make'] == 'Camera' and tags['Software'] == 'Editor' and tags['InterColorProfile'] == SRGB
    assert (tags['XResolution'], tags['YResolution'], tags['ResolutionUnit']) == ((300, 1), (240, 1), 3)
    assert 'ImageDescription' not in tags


def test_a_tiff_of_an_image_without_notes_has_none():
    with tifffile.TiffFile(io.BytesIO(encode_image(DecodedImage(np.zeros((4, 4, 3), np.uint8)), 'tif'))) as file:
        names = {tag.name for tag in file.pages[0].tags.values()}
    assert not names & {'Software', 'Make', 'ImageDescription', 'InterColorProfile', 'DateTime'}


def test_chunks_of_a_deep_png_stand_behind_its_header_with_their_checksums():
    exif = noted().tobytes()
    data = encode_image(DecodedImage(np.zeros((4, 4, 3), np.uint16), None, SRGB, exif), 'png')
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack('>I', data[place : place + 4])
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack('>I', data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(name + content)
        chunks.setdefault(name, content)
        place += 12 + length
    assert list(chunks)[:3] == [b'IHDR', b'iCCP', b'eXIf'] and list(chunks)[-1] == b'IEND'
    assert chunks[b'iCCP'].startswith(b'ICC profile\0\0') and zlib.decompress(chunks[b'iCCP'][13:]) == SRGB
    assert chunks[b'eXIf'] == exif.removeprefix(b'Exif\0\0')


def test_jpegs_keep_colours_at_full_size_and_webp_of_100_every_value(photo):
    with Image.open(io.BytesIO(encode_image(DecodedImage(photo), 'jpg'))) as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}
        found = {number: table[0] for number, table in image.quantization.items()}
    with io.BytesIO() as stream:
        Image.fromarray(photo).save(stream, 'JPEG', quality=95)
        with Image.open(stream) as image:
            assert found == {number: table[0] for number, table in image.quantization.items()}
    sizes = [len(encode_image(DecodedImage(photo), 'webp', quality)) for quality in (50, 99, 100)]
    assert sizes[0] < sizes[1]
    for quality in (99, 100):
        with Image.open(io.BytesIO(encode_image(DecodedImage(photo), 'webp', quality))) as image:
            assert (np.asarray(image) == photo).all() == (quality == 100)
