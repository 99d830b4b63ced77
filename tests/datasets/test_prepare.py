"""From small releases to roots that BasicSR and the data set read."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
import zipfile

import cv2
import lmdb
import numpy as np
import pytest

from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.prepare import prepare
from dinoir_plugin.datasets.recipe import Recipe


def complete(name, *counts):
    """A set of the catalogue whose complete release is small."""
    dataset = CATALOGUE[name]
    splits = tuple(dataclasses.replace(split, counts=count) for split, count in zip(dataset.splits, counts))
    return dataclasses.replace(dataset, splits=splits)


def test_pairs_of_an_archive_share_the_clean_key(photograph, write, zip_release, request_for, read_root, tmp_path):
    for number in range(3):
        write(f'RainTrainL/rain-{number}.png', photograph(number))
        write(f'RainTrainL/norain-{number}.png', photograph(number + 5))
    write('Rain100L/rain-001.png', photograph(10))
    write('Rain100L/norain-001.png', photograph(11))
    request = request_for(zip_release('rain.zip'), partial=False)
    rows = prepare(complete('rain100l', (3, 3), (1, 1)), request)
    assert [(row.split, row.role, row.images, row.sub_images) for row in rows] == [
        ('train', 'rain', 3, None), ('train', 'clean', 3, None), ('test', 'rain', 1, None), ('test', 'clean', 1, None),
    ]  # fmt: skip
    root = request.out / 'rain100l' / 'train'
    rain, clean = read_root(root / 'rain.lmdb'), read_root(root / 'clean.lmdb')
    assert list(rain) == list(clean) == ['norain-0', 'norain-1', 'norain-2']
    np.testing.assert_array_equal(rain['norain-2'], photograph(2))
    np.testing.assert_array_equal(clean['norain-2'], photograph(7))
    assert (root / 'rain.lmdb' / 'meta_info.txt').read_text().splitlines()[0] == 'norain-0.bmp (40,60,3) 0'
    roots = TaskOptions(dataroot_gt=str(root / 'clean.lmdb'), dataroot_lq=str(root / 'rain.lmdb'))
    assert len(Task('x', roots)) == 3
    assert not (request.out / '.extracted').exists()


def test_parts_of_a_release_may_be_archives_of_their_own(photograph, tmp_path, request_for, read_root):
    archives = []
    for name, degraded, clean in (('RainTrainL', 'rain-1', 'norain-1'), ('Rain100L', 'rain-001', 'norain-001')):
        archives.append(tmp_path / f'{name}.tar.gz')
        with tarfile.open(archives[-1], 'w:gz') as archive:
            for number, stem in enumerate((degraded, clean)):
                content = cv2.imencode('.png', photograph(number))[1].tobytes()
                member = tarfile.TarInfo(f'{stem}.png')
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    request = request_for(*archives, partial=False)
    prepare(complete('rain100l', (1, 1), (1, 1)), request)
    assert list(read_root(request.out / 'rain100l/test/clean.lmdb')) == ['norain-001']
    before = (request.out / 'rain100l/test/clean.lmdb/preparation.json').stat().st_mtime_ns
    prepare(complete('rain100l', (1, 1), (1, 1)), request)
    assert (request.out / 'rain100l/test/clean.lmdb/preparation.json').stat().st_mtime_ns == before


def test_same_names_in_different_folders_keep_apart(photograph, write, request_for, read_root):
    for number, sequence in enumerate(('GOPR0372_07_00', 'GOPR0374_11_00')):
        for half in ('blur', 'sharp', 'blur_gamma'):
            write(f'train/{sequence}/{half}/000047.png', photograph(number))
    request = request_for()
    prepare(CATALOGUE['gopro'], request)
    images = read_root(request.out / 'gopro/train/sharp.lmdb')
    assert list(images) == ['GOPR0372_07_00/000047', 'GOPR0374_11_00/000047']
    np.testing.assert_array_equal(images['GOPR0374_11_00/000047'], photograph(1))


def test_images_side_by_side_are_cut_in_the_middle(photograph, write, request_for, read_root):
    write('Rain_Heavy/train2018new/1.png', np.hstack([photograph(0), photograph(1)]))
    write('Rain_Light/train2018new/1.png', np.hstack([photograph(2), photograph(3)]))
    request = request_for()
    prepare(CATALOGUE['did_mdn'], request)
    rain = read_root(request.out / 'did_mdn/train/rain.lmdb')
    clean = read_root(request.out / 'did_mdn/train/clean.lmdb')
    assert list(rain) == list(clean) == ['Rain_Heavy/1', 'Rain_Light/1']
    np.testing.assert_array_equal(rain['Rain_Light/1'], photograph(2))
    np.testing.assert_array_equal(clean['Rain_Light/1'], photograph(3))


@pytest.mark.parametrize('pieces', [None, (32, 24)])
def test_reside_pairing_reads_the_result(photograph, write, request_for, read_root, pieces):
    for scene in range(2):
        frame = photograph(scene, 60, 80)
        write(f'indoor/gt/140{scene}.png', frame)
        for haze in (1, 4):
            write(f'indoor/hazy/140{scene}_{haze}.png', frame[10:-10, 10:-10] // 2 + 20 * haze)
    request = request_for(recipe=Recipe(sub_images=pieces))
    prepare(CATALOGUE['sots_indoor'], request)
    root = request.out / 'reside/sots_indoor/test'
    hazy, clear = read_root(root / 'hazy.lmdb'), read_root(root / 'clear.lmdb')
    assert len(hazy) == 2 * len(clear) == (4 if pieces is None else 24)
    roots = {'dataroot_gt': str(root / 'clear.lmdb'), 'dataroot_lq': str(root / 'hazy.lmdb')}
    task = Task('x', TaskOptions(**roots, pairing='reside'))
    assert len(task) == len(hazy)
    for pair in task.pairs:
        key, gt = task.lq.keys[pair.lq], clear[task.gt.keys[pair.gt]]
        np.testing.assert_array_equal(hazy[key], gt // 2 + 20 * int(key[-1]))


@pytest.mark.parametrize('encoding', ['png', 'bmp'])
def test_halves_are_cut_at_the_same_places(photograph, write, request_for, read_root, encoding):
    for number in range(2):
        write(f'our485/high/{number}.png', photograph(number))
        write(f'our485/low/{number}.png', photograph(number) // 4)
    write('our485/high/small.png', photograph(3, 20, 20))
    write('our485/low/small.png', photograph(3, 20, 20) // 4)
    request = request_for(recipe=Recipe(encoding, (32, 24)))
    rows = prepare(CATALOGUE['lol'], request)
    assert [(row.images, row.sub_images) for row in rows] == [(3, 13), (3, 13)]
    low, high = (read_root(request.out / f'lol/train/{role}.lmdb') for role in ('low', 'high'))
    assert list(low) == list(high)
    assert {'0_s001', '1_s006', 'small_s001'} < set(low)
    for key in low:
        np.testing.assert_array_equal(low[key], high[key] // 4)
    np.testing.assert_array_equal(high['0_s002'], photograph(0)[:32, 24:56])
    assert f'0_s001.{encoding} (32,32,3)' in (request.out / 'lol/train/low.lmdb/meta_info.txt').read_text()


def test_two_sets_share_a_root(photograph, write, request_for, read_root):
    write('bsd/images/train/1.jpg', photograph(0))
    write('bsd/images/test/2.jpg', photograph(1))
    write('wed/pristine_images/1.bmp', photograph(2))
    request = request_for()
    release = request.sources[0]
    root = request.out / 'bsd400_wed.lmdb'
    prepare(CATALOGUE['bsd400'], dataclasses.replace(request, sources=[release / 'bsd']))
    assert list(read_root(root)) == ['bsd400/1', 'bsd400/2']
    rows = prepare(CATALOGUE['wed'], dataclasses.replace(request, sources=[release / 'wed']))
    assert list(read_root(root)) == ['bsd400/1', 'bsd400/2', 'wed/1']
    assert [row.images for row in rows] == [1]


def test_an_unfinished_set_is_not_listed_in_a_shared_root(photograph, write, request_for):
    write('bsd/images/train/1.jpg', photograph(0))
    broken = write('bsd/images/test/2.jpg', photograph(1))
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    write('wed/pristine_images/1.bmp', photograph(2))
    request = request_for()
    release = request.sources[0]
    meta = request.out / 'bsd400_wed.lmdb' / 'meta_info.txt'

    def keys():
        return [line.split()[0] for line in meta.read_text().splitlines()]

    with pytest.raises(PreparationError, match='cannot be used'):
        prepare(CATALOGUE['bsd400'], dataclasses.replace(request, sources=[release / 'bsd']))
    prepare(CATALOGUE['wed'], dataclasses.replace(request, sources=[release / 'wed']))
    assert keys() == ['wed/1.bmp']
    broken.write_bytes(whole)
    prepare(CATALOGUE['bsd400'], dataclasses.replace(request, sources=[release / 'bsd']))
    assert keys() == ['bsd400/1.bmp', 'bsd400/2.bmp', 'wed/1.bmp']


def test_the_map_grows(write, request_for, read_root):
    noise = np.random.default_rng(0).integers(0, 256, (6, 200, 200, 3), dtype=np.uint8)
    for number, image in enumerate(noise):
        write(f'kodim{number}.png', image)
    request = request_for(map_size=1 << 16)
    row, = prepare(CATALOGUE['kodak24'], request)
    assert row.size > 6 * 200 * 200 * 3 > 1 << 16
    images = read_root(row.root)
    for number, image in enumerate(noise):
        np.testing.assert_array_equal(images[f'kodim{number}'], image)


def test_broken_images_are_all_named_and_can_be_replaced(photograph, write, request_for, read_root):
    for number in range(4):
        write(f'kodim{number}.jpg', photograph(number))
    cut_off = write('kodim4.jpg', photograph(4))
    whole = cut_off.read_bytes()
    cut_off.write_bytes(whole[: len(whole) // 2])
    no_image = write('kodim5.png', photograph(5))
    no_image.write_text('<html>not found</html>')
    request = request_for()
    with pytest.raises(PreparationError) as caught:
        prepare(CATALOGUE['kodak24'], request)
    assert '2 files cannot be used' in str(caught.value)
    assert 'release/kodim4.jpg: ' in str(caught.value)
    assert 'release/kodim5.png: ' in str(caught.value)
    root = request.out / 'kodak24.lmdb'
    assert not (root / 'meta_info.txt').exists()
    assert not json.loads((root / 'preparation.json').read_text())['sets']['kodak24']['finished']
    cut_off.write_bytes(whole)
    write('kodim5.png', photograph(5))
    prepare(CATALOGUE['kodak24'], request)
    assert len(read_root(root)) == 6


def test_halves_of_different_size_and_16_bits_for_bmp_are_named(photograph, write, request_for):
    write('our485/low/1.png', photograph(0, 40, 60))
    write('our485/high/1.png', photograph(0, 40, 62))
    write('our485/low/2.png', photograph(0).astype(np.uint16))
    write('our485/high/2.png', photograph(0))
    with pytest.raises(PreparationError) as caught:
        prepare(CATALOGUE['lol'], request_for(recipe=Recipe('bmp')))
    assert 'low/1.png is 60x40, but release/our485/high/1.png is 62x40' in str(caught.value)
    assert 'low/2.png: 16 bits a channel do not fit into BMP' in str(caught.value)


def test_a_finished_root_is_left_alone_unless_something_differs(photograph, write, request_for):
    write('kodim1.png', photograph(0))
    request = request_for()
    row, = prepare(CATALOGUE['kodak24'], request)
    before = {path.name: path.stat().st_mtime_ns for path in row.root.iterdir() if path.name != 'lock.mdb'}
    assert prepare(CATALOGUE['kodak24'], request) == [row]
    with pytest.raises(PreparationError, match='was made with --encoding bmp and whole images, but now'):
        prepare(CATALOGUE['kodak24'], dataclasses.replace(request, recipe=Recipe('png', (32, 24))))
    write('kodim2.png', photograph(1))
    with pytest.raises(PreparationError, match='was made from other images'):
        prepare(CATALOGUE['kodak24'], request)
    meta = {'meta_info.txt', 'data.mdb'}
    assert all(before[name] == (row.root / name).stat().st_mtime_ns for name in meta)


def test_an_lmdb_of_somebody_else_is_not_touched(photograph, write, request_for):
    write('kodim1.png', photograph(0))
    request = request_for()
    request.out.mkdir()
    lmdb.open(str(request.out / 'kodak24.lmdb')).close()
    with pytest.raises(PreparationError, match='was made by something else'):
        prepare(CATALOGUE['kodak24'], request)


@pytest.mark.parametrize('kind', ['zip', 'tar'])
def test_archives_that_lead_outside_are_refused(tmp_path, request_for, kind):
    archive = tmp_path / f'bad.{kind}'
    if kind == 'zip':
        with zipfile.ZipFile(archive, 'w') as file:
            file.writestr('../../escaped.png', b'x')
    else:
        with tarfile.open(archive, 'w') as file:
            file.addfile(tarfile.TarInfo('../../escaped.png'))
    with pytest.raises(PreparationError, match='outside'):
        prepare(CATALOGUE['kodak24'], request_for(archive))
    assert not list(tmp_path.rglob('escaped.png'))


def test_bad_sources_are_named(tmp_path, request_for):
    broken = tmp_path / 'x.zip'
    broken.write_bytes(b'PK no zip')
    other = tmp_path / 'x.rar'
    other.write_bytes(b'')
    for source, text in ((tmp_path / 'none', 'no such archive'), (other, r'expected a folder or an archive \(\.zip'),
                         (broken, 'cannot be extracted')):
        with pytest.raises(PreparationError, match=text):
            prepare(CATALOGUE['kodak24'], request_for(source))
