"""Sources and training sets with files that cannot be used."""

from __future__ import annotations

import shutil

import pytest
from basicsr.utils import get_root_logger
from conftest_data import write
from PIL import Image

from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.sources import FolderSource, LmdbSource
from dinoir_plugin.imaging.reading import decode_image

NOISE = {'type': 'gaussian_noise', 'sigma': 25}


@pytest.fixture
def photo(clean_images):
    return clean_images['coffee']


@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_the_size_of_a_jpeg_is_that_of_the_upright_image(photo, orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(photo).save(tmp_path / 'a.jpg', exif=exif)
    source = FolderSource(str(tmp_path), 'x')
    size = photo.shape[:2] if orientation < 5 else photo.shape[1::-1]
    assert source.size(0) == decode_image(source.read(0), 'x').shape[:2] == size


def test_an_lmdb_that_is_none_or_lacks_a_key_is_named(sets, tmp_path):
    root = tmp_path / 'other.lmdb'
    shutil.copytree(sets.dry_lmdb, root)
    (root / 'meta_info.txt').write_text('000.png (150,200,3) 1\nzebra.png (150,200,3) 1\n')
    with pytest.raises(ValueError, match=r"other\.lmdb: meta_info\.txt lists 'zebra'"):
        LmdbSource(str(root), 'x').read(1)
    broken = tmp_path / 'broken.lmdb'
    broken.mkdir()
    (broken / 'data.mdb').write_bytes(b'no database' * 1000)
    (broken / 'meta_info.txt').write_text('000.png (150,200,3) 1\n')
    with pytest.raises(ValueError, match=r'broken\.lmdb: data\.mdb cannot be read'):
        LmdbSource(str(broken), 'x').read(0)


@pytest.fixture
def with_bad_files(tmp_path, photo):
    for name in 'abcdef':
        write(tmp_path / 'gt' / f'{name}.png', photo)
    (tmp_path / 'gt' / 'b.png').write_bytes(b'')
    (tmp_path / 'gt' / 'd.png').write_text('words')
    write(tmp_path / 'gt' / 'e.png', photo[:40])
    return {'dataroot_gt': str(tmp_path / 'gt'), 'degradation': NOISE}


def test_skip_takes_the_next_image_and_logs_one_line_a_file(options, with_bad_files, monkeypatch):
    lines = []
    monkeypatch.setattr(get_root_logger(), 'warning', lines.append)
    opt = options(tasks={'x': with_bad_files}, on_error='skip')
    dataset = MixedDegradationDataset(opt)
    items = [dataset[number] for number in range(24)]
    used = {item['gt_path'][-5] for item in items}
    assert used == set('acf')
    assert len(lines) == 3 and all('Skipped' in line for line in lines)
    assert {line.split('.png')[0][-1] for line in lines} == set('bde')
    again = MixedDegradationDataset(opt)
    assert all((again[n]['lq'] == items[n]['lq']).all() for n in range(24))


def test_stop_is_the_default_and_skip_says_when_nothing_is_left(options, with_bad_files, tmp_path):
    dataset = MixedDegradationDataset(options(tasks={'x': with_bad_files}))
    with pytest.raises(ValueError, match=r'gt/[bde]\.png'):
        [dataset[number] for number in range(6)]
    for path in (tmp_path / 'gt').iterdir():
        path.write_bytes(b'')
    dataset = MixedDegradationDataset(options(tasks={'x': with_bad_files}, on_error='skip'))
    with pytest.raises(ValueError, match='none of 6 images can be used'):
        dataset[0]
