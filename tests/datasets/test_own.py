"""People's own images, from folders to roots and to the options that train on them."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import yaml

from dinoir_plugin.cli import main
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.sources import open_source
from dinoir_plugin.datasets import own as own_images
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.own import Own, prepare_own

RESIDE = Own('pairs', pairing='reside')


def dataset(blocks, split):
    return MixedDegradationDataset({**blocks['datasets'][split], 'phase': 'val', 'seed': 0})


def test_pairs_come_with_options_that_train_on_them(photograph, write, tmp_path, monkeypatch, capsys):
    for number in range(5):
        write(f'rain/{number}x2.png', photograph(number) // 2)
        write(f'clean/{number}.bmp', photograph(number))
    monkeypatch.chdir(tmp_path)
    words = ['prepare', 'pairs', 'release/rain', 'release/clean', '--out', 'sets/2024', '--filename-tmpl', '{}x2']
    assert main([*words, '--val', '2', '--sub-images', '32', '24', '--workers', '1']) == 0
    table, _, text = capsys.readouterr().out.partition('\n\n')
    assert [line.split()[:5] for line in table.splitlines()[1:]] == [
        ['pairs', 'train', 'degraded', '3', '18'], ['pairs', 'train', 'clean', '3', '18'],
        ['pairs', 'val', 'degraded', '2', '-'], ['pairs', 'val', 'clean', '2', '-'],
    ]  # fmt: skip
    blocks = yaml.safe_load(text)
    assert list(blocks['datasets']) == ['train', 'val'] and list(blocks['datasets']['train']['tasks']) == ['2024']
    assert len(dataset(blocks, 'train')) == 18
    val = dataset(blocks, 'val')
    assert len(val) == 2
    for item in val:
        np.testing.assert_array_equal(item['lq'].numpy() * 255, item['gt'].numpy() * 255 // 2)
    kept, trained = (
        {key.partition('_')[0] for key in open_source(f'sets/2024/{split}/clean.lmdb', 'x').keys}
        for split in ('val', 'train')
    )
    assert kept | trained == set('01234') and not kept & trained


def test_what_is_wrong_is_named_and_a_finished_root_is_of_these_images(photograph, write, tmp_path, request_for):
    for number in range(3):
        write(f'a/{number}.png', photograph(number))
        write(f'b/{number}.png', photograph(number))
    cut_off = write('a/1.png', photograph(1))
    whole = cut_off.read_bytes()
    cut_off.write_bytes(whole[:-30])
    write('a/2.png', photograph(2, 20, 60))
    folders = [tmp_path / 'release' / name for name in 'ab']
    with pytest.raises(PreparationError) as caught:
        prepare_own(Own('pairs'), request_for(*folders))
    assert 'pairs: 2 files cannot be used' in str(caught.value) and 'release/a/1.png: ' in str(caught.value)
    assert 'release/a/2.png is 60x20, but ' in str(caught.value)
    cut_off.write_bytes(whole)
    write('a/2.png', photograph(2))
    request = request_for(*folders)
    assert [row.images for row in prepare_own(Own('pairs'), request)] == [3, 3]
    assert [row.images for row in prepare_own(Own('pairs'), request)] == [3, 3]
    os.utime(cut_off, (1, 1))
    with pytest.raises(PreparationError, match=r'degraded.lmdb was made from other images, or from these before'):
        prepare_own(Own('pairs'), request)
    with pytest.raises(PreparationError, match='was made from other images'):
        prepare_own(Own('pairs'), dataclasses.replace(request, sources=[folders[1], folders[1]]))


def test_what_cannot_be_paired_or_shared_out_is_refused(photograph, write, tmp_path, request_for, caplog):
    write('rain/rain-1.png', photograph(0))
    write('clean/norain-1.png', photograph(0))
    write('clean/more/norain-2.png', photograph(0))
    (tmp_path / 'release/empty').mkdir()
    rain, clean, empty, root = (tmp_path / 'release' / name for name in ('rain', 'clean', 'empty', 'x.lmdb'))
    for own, sources, text in (
        (Own('pairs'), (rain, clean), r'1 clean images .* no partner .*: norain-1 \(expected rain-1|Images pair up by'),
        (RESIDE, (rain, clean), r'rain-1 \(expected rain-1\)\. Images pair up by name; --pairing reside and'),
        (Own('pairs', template='x'), (rain, clean), 'expected a text with {} for the clean name'),
        (Own('pairs', 'reside', '{}x2'), (rain, clean), 'this option has no effect without pairing: name'),
        (Own('pairs'), (rain, empty), 'no image file in '),
        (Own('photos'), (tmp_path / 'none',), 'no such folder'),
        (Own('photos'), (root,), 'is an LMDB: an options file takes it as it is'),
        (Own('photos', val=1), (clean,), '--val 1: expected fewer than there are clean images, 1'),
    ):
        with pytest.raises(PreparationError, match=text):
            prepare_own(own, request_for(*sources))
    assert 'images in the folders in it (more) are not taken' in caplog.text


def test_all_that_belongs_to_a_clean_image_is_kept_out_with_it(photograph, write, tmp_path):
    for scene in range(6):
        write(f'clear/{scene}.png', photograph(scene))
        for haze in range(3):
            write(f'hazy/{scene}_{haze}.png', photograph(scene))
    folders = [tmp_path / 'release' / name for name in ('hazy', 'clear')]
    scenes = own_images._pairs(RESIDE, folders)
    assert [len(scene.parts) for scene in scenes] == [4] * 6
    chosen = [own_images._kept_out(scenes, dataclasses.replace(RESIDE, val=2, seed=seed)) for seed in (0, 0, 1)]
    assert [len(part) for part in chosen[0]] == [4, 2]
    assert chosen[0] == chosen[1] != chosen[2]
    blocks = own_images.blocks(dataclasses.replace(RESIDE, val=2), tmp_path / 'haze')
    assert blocks['datasets']['val']['tasks']['haze']['pairing'] == 'reside'


def test_photographs_are_degraded_by_an_example(tmp_path):
    task = own_images.blocks(Own('photos'), tmp_path / 'x')['datasets']['train']['tasks']['x']
    assert task == {'dataroot_gt': f'{tmp_path}/x/train.lmdb',
                    'degradation': {'type': 'gaussian_noise', 'sigma': [15, 50]}}
