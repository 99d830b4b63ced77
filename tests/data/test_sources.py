"""Folders, LMDBs and decoding."""

from __future__ import annotations

import os
import pickle

import cv2
import numpy as np
import pytest
from conftest_data import HEIGHT, WIDTH, write

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.depth import DepthSource
from dinoir_plugin.data.meta_info import read_meta_info
from dinoir_plugin.data.sources import FolderSource, LmdbSource, open_source
from dinoir_plugin.imaging.decoding import to_rgb_float
from dinoir_plugin.imaging.formats import split_name
from dinoir_plugin.imaging.reading import decode_image


def encode(image, suffix='.png'):
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.parametrize('kind', ['hazy', 'clean'])
def test_folder_and_lmdb_hold_the_same_images_in_the_same_order(sets, kind):
    folder, lmdb = open_source(getattr(sets, kind), 'x'), open_source(getattr(sets, f'{kind}_lmdb'), 'x')
    assert isinstance(folder, FolderSource)
    assert isinstance(lmdb, LmdbSource)
    assert folder.keys == lmdb.keys == sorted(folder.keys)
    for number, key in enumerate(folder.keys):
        assert folder.find(key) == lmdb.find(key) == number
        assert folder.size(number) == lmdb.size(number) == (HEIGHT, WIDTH)
        assert os.path.basename(folder.path(number)) == os.path.basename(lmdb.path(number)) == f'{key}.png'
        np.testing.assert_array_equal(
            decode_image(folder.read(number), 'a'), decode_image(lmdb.read(number), 'b')
        )


def test_two_sources_may_share_an_lmdb_and_survive_pickling_and_fork(sets):
    first, second = (open_source(sets.clean_lmdb, 'x') for _ in range(2))
    data = first.read(0)
    assert second.read(0) == data
    assert pickle.loads(pickle.dumps(first)).read(0) == data
    child = os.fork()
    if child == 0:
        # The parent's handle must be dropped before LMDB opens the file again.
        os._exit(0 if first.read(0) == data else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert first.read(0) == data


def test_a_folder_scan_takes_images_only(tmp_path):
    write(tmp_path / 'b.PNG', np.zeros((4, 6, 3), np.uint8))
    write(tmp_path / 'a.jpg', np.zeros((8, 6, 3), np.uint8))
    write(tmp_path / '.hidden.png', np.zeros((4, 6, 3), np.uint8))
    write(tmp_path / 'sub' / 'c.png', np.zeros((4, 6, 3), np.uint8))
    (tmp_path / 'Thumbs.db').write_bytes(b'x')
    source = FolderSource(str(tmp_path), 'x')
    assert source.keys == ['a', 'b']
    assert [source.size(number) for number in (0, 1)] == [(8, 6), (4, 6)]


def test_names_keep_dots_that_start_no_extension():
    names = ('0001_0.8_0.2.jpg', '0001_0.8_0.2', 'a.b.TIFF')
    assert [split_name(name)[0] for name in names] == ['0001_0.8_0.2', '0001_0.8_0.2', 'a.b']


def test_home_is_expanded(tmp_path, monkeypatch):
    write(tmp_path / 'set' / 'a.png', np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert open_source('~/set', 'x').path(0) == str(tmp_path / 'set' / 'a.png')


def test_meta_info_takes_the_names(tmp_path):
    (tmp_path / 'meta.txt').write_text('b.png (480,480,3)\n\na.jpg\n')
    listed = read_meta_info(str(tmp_path / 'meta.txt'), 'x')
    assert [entry.readings[0] for entry in listed] == [('b.png', None), ('a.jpg', None)]


def test_decoding_is_rgb_between_0_and_1():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    got = to_rgb_float(decode_image(encode(rgb[..., ::-1]), 'x'))
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, rgb.astype(np.float32) / 255)
    deep = rgb.astype(np.uint16) * 257
    np.testing.assert_allclose(to_rgb_float(decode_image(encode(deep[..., ::-1]), 'x')), rgb / 255, atol=1e-7)
    grey = to_rgb_float(decode_image(encode(rgb[..., 0]), 'x'))
    np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1].astype(np.float32) / 255, 3, axis=2))


def test_what_cannot_be_decoded_is_named():
    for data in (b'', b'nonsense'):
        with pytest.raises(ValueError, match=r'in/x\.png: expected an image'):
            decode_image(data, 'in/x.png')
    with pytest.raises(ValueError, match=r'x\.png: expected grey or colour, got 4 channels .*without an alpha'):
        decode_image(encode(np.zeros((4, 4, 4), np.uint8)), 'x.png')
    with pytest.raises(ValueError, match='expected 8 or 16 bits a channel, got float32'):
        decode_image(encode(np.zeros((4, 4, 3), np.float32), '.tiff'), 'x.tiff')


def test_depth_maps_are_images_or_arrays(tmp_path):
    np.save(tmp_path / 'a.npy', np.full((4, 6), 2.5))
    write(tmp_path / 'b.png', np.full((5, 6), 1000, np.uint16))
    np.save(tmp_path / 'c.npy', np.zeros((4, 6, 3)))
    source = DepthSource(str(tmp_path), 'x', 'depth')
    assert [source.size(number) for number in (0, 1)] == [(4, 6), (5, 6)]
    assert source.depth(0).max() == source.depth(1).min() == 1
    for look in (source.size, source.depth):
        with pytest.raises(ValueError, match=r'c\.npy: expected .*\(4, 6, 3\)'):
            look(2)


def test_bad_roots_are_named(tmp_path):
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'no_meta.lmdb').mkdir()
    twice = tmp_path / 'twice'
    write(twice / 'a.png', np.zeros((4, 4, 3), np.uint8))
    write(twice / 'a.jpg', np.zeros((4, 4, 3), np.uint8))
    broken = tmp_path / 'broken.lmdb'
    broken.mkdir()
    (broken / 'data.mdb').write_bytes(b'')
    (broken / 'meta_info.txt').write_text('a.png (1,2,3) 1\nb.png\n')
    for value, text in [
        (tmp_path / 'none', 'no such folder'),
        ('none/at/all', f'relative to {os.getcwd()}'),
        (tmp_path / 'file', 'is a file'),
        (tmp_path / 'empty', 'no image file in'),
        (tmp_path / 'no_meta.lmdb', 'expected data.mdb and meta_info.txt'),
        (broken, "entry 2: expected a name and (h,w,c), got 'b.png'"),
        (twice, 'a.jpg and a.png in'),
    ]:
        with pytest.raises(OptionsError) as caught:
            open_source(str(value), 'tasks.x.dataroot_gt')
        assert caught.value.path == 'tasks.x.dataroot_gt'
        assert text in str(caught.value)


@pytest.mark.parametrize('value', ['', 5, None])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(OptionsError, match='x: expected a folder, got'):
        open_source(value, 'x')
    with pytest.raises(OptionsError, match='x: no such file'):
        read_meta_info(value, 'x')


def test_a_key_missing_in_the_lmdb_is_named(sets, tmp_path):
    import shutil

    copy = shutil.copytree(sets.clean_lmdb, tmp_path / 'copy.lmdb')
    with open(copy / 'meta_info.txt', 'a') as file:
        file.write('zebra.png (4,4,3) 1\n')
    source = open_source(str(copy), 'x')
    with pytest.raises(ValueError, match="lists 'zebra', but the LMDB does not hold it"):
        source.read(source.find('zebra'))
