"""Every wrong option is named with its path, before training and in words that help."""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest_data import write

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data import image_check
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset


def blank(*shape):
    return np.zeros((*shape, 3), np.uint8)


def refused(opt):
    with pytest.raises(OptionsError) as caught:
        MixedDegradationDataset(opt)
    return caught.value.path, str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'path', 'text'),
    [
        ({'gt_sise': 3}, 'gt_sise', "did you mean 'gt_size'?"),
        ({'gt_size': None}, 'gt_size', 'side of the patches'),
        ({'gt_size': 12.5}, 'gt_size', 'whole number of at least 1, got 12.5'),
        ({'phase': 'eval'}, 'phase', 'train, val, test'),
        ({'seed': -1}, 'seed', 'at least 0'),
        ({'use_rot': 'yes'}, 'use_rot', 'true or false'),
        ({'batch_size_per_gpu': 0}, 'batch_size_per_gpu', 'at least 1'),
        ({'dataset_enlarge_ratio': 0}, 'dataset_enlarge_ratio', 'above 0'),
        ({'tasks': {}}, 'tasks', 'at least one task'),
        ({'tasks': None}, 'tasks', 'at least one task'),
        ({'tasks': ['denoise']}, 'tasks', 'at least one task'),
        ({'tasks': {'a': None}}, 'tasks.a', 'block of options'),
        ({'stages': []}, 'stages', 'list of blocks'),
        ({'stages': {'iters': 4}}, 'stages', 'list of blocks'),
        ({'stages': [{'gt_size': 32}]}, 'stages[0].iters', 'whole number'),
        ({'stages': [{'iters': 5}, {'iters': -1}]}, 'stages[1].iters', 'at least 1, got -1'),
        ({'stages': [{'iters': 5, 'batch_size': 2}]}, 'stages[0].batch_size', "did you mean 'batch_size_per_gpu'?"),
        ({'stages': [{'iters': 5}], 'batch_size_per_gpu': None}, 'stages[0].batch_size_per_gpu', 'got None'),
    ],
)
def test_top_level(options, changes, path, text):
    found, message = refused(options(**changes))
    assert found == path
    assert text in message


NOISE = {'type': 'gaussian_noise', 'sigma': 25}


@pytest.mark.parametrize(
    ('task', 'key', 'text'),
    [
        ({'degradation': NOISE}, '.dataroot_gt', 'every task needs'),
        ({'dataroot_gt': 'clean'}, '', 'either dataroot_lq or degradation, got neither'),
        ({'dataroot_gt': 'dry', 'dataroot_lq': 'rain', 'degradation': NOISE}, '', 'got both'),
        ({'dataroot_gt': 'clean', 'degredation': NOISE}, '.degredation', "did you mean 'degradation'?"),
        ({'dataroot_gt': 'nowhere', 'degradation': NOISE}, '.dataroot_gt', 'no such folder'),
        ({'dataroot_gt': 3, 'degradation': NOISE}, '.dataroot_gt', 'no such folder: 3'),
        ({'dataroot_gt': 'clean', 'degradation': {'type': 'noise'}}, '.degradation.type', 'gaussian_noise'),
        ({'dataroot_gt': 'clean', 'degradation': NOISE, 'weight': 0}, '.weight', 'above 0, got 0'),
        ({'dataroot_gt': 'clean', 'degradation': NOISE, 'pairing': 'reside'}, '.pairing', 'without dataroot_lq'),
        ({'dataroot_gt': 'clean', 'degradation': NOISE, 'dataroot_depth': 'depth'}, '.dataroot_depth', 'such as haze'),
        ({'dataroot_gt': 'clean', 'degradation': {'type': 'haze'}, 'depth_kind': 'depth'}, '.depth_kind', 'no effect'),
        ({'dataroot_gt': 'clean', 'degradation': {'type': 'haze'}, 'dataroot_depth': 'depth'}, '.dataroot_depth',
         '4 images of'),
        ({'dataroot_gt': 'dry', 'dataroot_lq': 'rain', 'pairing': 'resize'}, '.pairing', "did you mean 'reside'?"),
        ({'dataroot_gt': 'clear', 'dataroot_lq': 'hazy', 'pairing': 'reside', 'filename_tmpl': 'x{}'}, '.filename_tmpl',
         'no effect without pairing: name'),
        ({'dataroot_gt': 'dry', 'dataroot_lq': 'rain', 'filename_tmpl': 'x'}, '.filename_tmpl', '{}'),
        ({'dataroot_gt': 'dry', 'dataroot_lq': 'rain', 'filename_tmpl': '{}x2'}, '.dataroot_lq',
         '000 (expected 000x2), 001 (expected 001x2), 002 (expected 002x2)'),
        ({'dataroot_gt': 'clean', 'dataroot_lq': 'rain'}, '.dataroot_lq',
         'rain: astronaut (expected astronaut), chelsea (expected chelsea), coffee (expected coffee), ...'),
        ({'dataroot_gt': 'dry', 'dataroot_lq': 'hazy', 'pairing': 'reside'}, '.dataroot_gt',
         '6 hazy images of'),
        ({'dataroot_gt': 'dry', 'dataroot_lq': 'rain', 'meta_info_file': '/no/list.txt'}, '.meta_info_file',
         'no such file: /no/list.txt'),
    ],
)  # fmt: skip
def test_task_level(options, sets, monkeypatch, task, key, text):
    monkeypatch.chdir(sets.root)
    path, message = refused(options(tasks={'derain': task}))
    assert path == f'tasks.derain{key}'
    assert text in message


def test_extra_degraded_images_and_unknown_names_in_a_list(options, sets, tmp_path):
    write(tmp_path / 'dry' / '000.png', blank(60, 60))
    task = {'dataroot_gt': str(tmp_path / 'dry'), 'dataroot_lq': sets.rain}
    path, message = refused(options(tasks={'x': task}))
    assert path == 'tasks.x.dataroot_gt'
    assert '2 degraded images of' in message
    assert message.endswith('001, 002.')
    (tmp_path / 'meta.txt').write_text('000.png\nzebra.png\n')
    path, message = refused(options(tasks={'x': {**task, 'meta_info_file': str(tmp_path / 'meta.txt')}}))
    assert path == 'tasks.x.meta_info_file'
    assert '1 listed names are not in dataroot_gt' in message


def test_items_that_cannot_be_used_name_the_file(options, tmp_path):
    write(tmp_path / 'gt' / 'a.png', blank(40, 60))
    write(tmp_path / 'lq' / 'a.png', blank(50, 60))
    noise = options(tasks={'x': {'dataroot_gt': str(tmp_path / 'gt'), 'degradation': NOISE}})
    with pytest.raises(ValueError, match=r'a\.png: 60x40 pixels are too few for gt_size 48'):
        MixedDegradationDataset(noise)[0]
    task = {'dataroot_gt': str(tmp_path / 'gt'), 'dataroot_lq': str(tmp_path / 'lq')}
    pairs = options(tasks={'x': task}, phase='val')
    with pytest.raises(ValueError, match=r'lq/a\.png is 60x50, but .*gt/a\.png is 60x40'):
        MixedDegradationDataset(pairs)[0]


@pytest.mark.parametrize('lmdb', [False, True])
def test_check_images_passes_on_good_sets(options, lmdb):
    MixedDegradationDataset(options(lmdb=lmdb)).check_images()
    MixedDegradationDataset(options(lmdb=lmdb, phase='val')).check_images()


def check_fails(opt):
    with pytest.raises(OptionsError) as caught:
        MixedDegradationDataset(opt).check_images()
    assert caught.value.path == 'tasks.x'
    return str(caught.value)


def test_check_images_finds_images_smaller_than_any_stage(options, sets):
    opt = options(tasks={'x': {'dataroot_gt': sets.clean, 'degradation': NOISE}})
    opt['stages'] = [{'iters': 1, 'gt_size': 150}, {'iters': 1}]
    MixedDegradationDataset(opt).check_images()
    opt['stages'][0]['gt_size'] = 151
    message = check_fails(opt)
    assert '5 of 5 images cannot be used' in message
    assert 'astronaut.png is 200x150, smaller than gt_size 151' in message
    opt['phase'] = 'val'
    MixedDegradationDataset(opt).check_images()


def test_check_images_finds_unequal_pairs_and_broken_files(options, tmp_path, monkeypatch, capsys):
    for name in ('a', 'b', 'c'):
        write(tmp_path / 'gt' / f'{name}.png', blank(60, 60))
        write(tmp_path / 'lq' / f'{name}.png', blank(60, 60 + (name == 'b')))
    pairs = options(tasks={'x': {'dataroot_gt': str(tmp_path / 'gt'), 'dataroot_lq': str(tmp_path / 'lq')}})
    message = check_fails(pairs)
    assert '1 of 3 images' in message
    assert f'{tmp_path}/lq/b.png is 61x60, but {tmp_path}/gt/b.png is 60x60' in message
    assert 'checking images' not in capsys.readouterr().err
    monkeypatch.setattr(image_check, 'SHOW_PROGRESS_ABOVE', 2)
    (tmp_path / 'lq' / 'b.png').write_bytes(b'nonsense')
    assert 'lq/b.png: expected an image (JPEG, PNG, TIFF, WEBP, BMP, GIF, PPM), but it is none' in check_fails(pairs)
    assert 'checking images' in capsys.readouterr().err


def test_check_images_decodes_the_first_image(options, tmp_path):
    path = tmp_path / 'gt' / 'a.png'
    write(path, np.random.default_rng(0).integers(0, 255, (60, 60, 4), dtype=np.uint8)[..., :3])
    # The header is whole, the pixels are not there.
    os.truncate(path, 50)
    noise = options(tasks={'x': {'dataroot_gt': str(tmp_path / 'gt'), 'degradation': NOISE}})
    assert 'the first image cannot be read' in check_fails(noise)
