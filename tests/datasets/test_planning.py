"""The catalogue's layouts: which file names of a release become which keys."""

from __future__ import annotations

import logging

import pytest

from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.planning import File, list_images, plan_splits


def plan(name, *names, partial=True):
    return plan_splits(CATALOGUE[name], [File(f'/{path}', path) for path in names], partial)


def keys(plans):
    """Split name to the keys of each scene, degraded first."""
    return {plan.split.name: [[part.key for part in scene.parts] for scene in plan.scenes] for plan in plans}


LAYOUTS = [
    ('did_mdn', ['x/Rain_Heavy/train2018new/1.jpg', 'x/Rain_Light/train2018new/1.jpg', 'DID-MDN-test/7.jpg'],
     {'train': [['Rain_Heavy/1'] * 2, ['Rain_Light/1'] * 2], 'test': [['7', '7']]}),
    ('did_mdn', ['did_mdn/train/rain/1.png', 'did_mdn/train/clean/1.jpg'], {'train': [['1', '1']]}),
    ('ots', ['OTS/hazy/0001_0.8_0.2.jpg', 'OTS/hazy/0001_1_0.04.jpg', 'OTS/clear/0001.jpg', 'OTS/clear/0002.jpg'],
     {'train': [['0001_0.8_0.2', '0001_1_0.04', '0001']]}),
    ('ots', ['beta/part1/0001_0.8_0.2.jpg', 'beta/part2/0005_0.8_0.2.jpg', 'beta/clear/clear_images/0001.jpg',
             'beta/clear/clear_images/0005.jpg'],
     {'train': [['0001_0.8_0.2', '0001'], ['0005_0.8_0.2', '0005']]}),
    ('sots_indoor', ['SOTS/indoor/hazy/1400_1.png', 'SOTS/indoor/gt/1400.png', 'SOTS/outdoor/hazy/0001_0.8_0.2.jpg',
                     'SOTS/outdoor/gt/0001.png'], {'test': [['1400_1', '1400']]}),
    ('sots_indoor', ['sots_indoor/train/hazy/1400_1.png', 'sots_indoor/train/clear/1400.png',
                     'sots_indoor/test/hazy/1424_2.png', 'sots_indoor/test/clear/1424.png'],
     {'train': [['1400_1', '1400']], 'test': [['1424_2', '1424']]}),
    ('sots_outdoor', ['SOTS/indoor/hazy/1400_1.png', 'SOTS/indoor/gt/1400.png', 'SOTS/outdoor/hazy/0001_0.8_0.2.jpg',
                      'SOTS/outdoor/gt/0001.png'], {'test': [['0001_0.8_0.2', '0001']]}),
    ('bsd400', ['BSR/BSDS500/data/images/train/1.jpg', 'BSR/BSDS500/data/images/test/2.jpg',
                'BSR/BSDS500/data/images/val/3.jpg'], {'train': [['bsd400/1'], ['bsd400/2']]}),
    ('wed', ['exploration_database_and_code/pristine_images/00001.bmp', 'exploration_database_and_code/x.png'],
     {'train': [['wed/00001']]}),
    ('bsd68', ['CBSD68/original_png/0000.png', 'CBSD68/noisy25/0000.png'], {'test': [['0000']]}),
    ('urban100', ['U/image_SRF_4/img_001_SRF_4_HR.png', 'U/image_SRF_4/img_001_SRF_4_LR.png',
                  'U/image_SRF_2/img_001_SRF_2_HR.png'], {'test': [['img_001_SRF_4_HR']]}),
    ('urban100', ['Urban100/img_001.png'], {'test': [['img_001']]}),
    ('kodak24', ['k/kodim01.png'], {'test': [['kodim01']]}),
    ('mcmaster', ['McM/1.tif'], {'test': [['1']]}),
    ('rain100l', ['RainTrainL/rain-1.png', 'RainTrainL/norain-1.png', 'Rain100L/rain-001.png',
                  'Rain100L/norain-001.png'], {'train': [['norain-1'] * 2], 'test': [['norain-001'] * 2]}),
    ('rain100l', ['rain100l/train/rain/001.png', 'rain100l/train/clean/001.png', 'rain100l/test/rainy/rain-071.png',
                  'rain100l/test/gt/norain-071.png'], {'train': [['001'] * 2], 'test': [['norain-071'] * 2]}),
    ('rain100h', ['RainTrainH/rain-1.png', 'RainTrainH/norain-1.png', 'Rain100H/rain/norain-001.png',
                  'Rain100H/norain/norain-001.png'], {'train': [['norain-1'] * 2], 'test': [['norain-001'] * 2]}),
    ('gopro', [f'G/train/{sequence}/{half}/000001.png' for sequence in 'ab' for half in ('blur', 'blur_gamma', 'sharp')]
     + ['G/test/c/blur/000047.png', 'G/test/c/sharp/000047.png'],
     {'train': [['a/000001'] * 2, ['b/000001'] * 2], 'test': [['c/000047'] * 2]}),
    ('lol', ['LOLdataset/our485/low/2.png', 'LOLdataset/our485/high/2.png', 'LOLdataset/eval15/low/1.png',
             'LOLdataset/eval15/high/1.png'], {'train': [['2', '2']], 'test': [['1', '1']]}),
    ('div2k', ['DIV2K_train_HR/0001.png', 'DIV2K_valid_HR/0801.png', 'DIV2K_train_LR_bicubic/X2/0001x2.png'],
     {'train': [['div2k/0001'], ['div2k/0801']]}),
    ('flickr2k', ['Flickr2K/Flickr2K_HR/000001.png', 'Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png'],
     {'train': [['flickr2k/000001']]}),
    ('live1', ['databaserelease2/refimgs/bikes.bmp', 'databaserelease2/jpeg/img1.bmp'], {'test': [['bikes']]}),
    ('celeba_hq', [f'celeba_hq_256/{number:05d}.jpg' for number in (0, 99, 100, 1000, 29999)],
     {'train': [['00100'], ['01000'], ['29999']], 'test': [['00000'], ['00099']]}),
    ('reside6k', ['RESIDE-6K/train/hazy/1.jpg', 'RESIDE-6K/train/GT/1.jpg', 'RESIDE-6K/test/hazy/1_x.jpg',
                  'RESIDE-6K/test/GT/1_x.jpg'], {'train': [['1', '1']], 'test': [['1_x', '1_x']]}),
    ('raindrop', ['train/train/data/0_rain.png', 'train/train/gt/0_clean.png', 'test_a/test_a/data/3_rain.png',
                  'test_a/test_a/gt/3_clean.png', 'test_b/test_b/data/3_rain.png', 'test_b/test_b/gt/3_clean.png'],
     {'train': [['0_clean'] * 2], 'test': [['3_clean'] * 2]}),
    ('srd', ['SRD/Train/shadow/IMG_1.jpg', 'SRD/Train/shadow_free/IMG_1_no_shadow.jpg',
             'SRD/test_data/shadow/IMG_2.jpg', 'SRD/test_data/shadow_free/IMG_2_free.jpg'],
     {'train': [['IMG_1_no_shadow'] * 2], 'test': [['IMG_2_free'] * 2]}),
    ('srd', ['SRD/train/train_A/1.jpg', 'SRD/train/train_B/1.jpg', 'SRD/train/train_C/1_no_shadow.jpg'],
     {'train': [['1_no_shadow'] * 2]}),
    ('snow100k_l', [f'{folder}/{half}/{name}.jpg' for half in ('gt', 'mask', 'synthetic') for folder, name in (
        ('all', 'beautiful_smile_00003'), ('jdway/GameSSD/overlapping/test/Snow100K-L', 'city_1'),
        ('jdway/GameSSD/overlapping/test/Snow100K-S', 'city_2'))],
     {'train': [['beautiful_smile_00003'] * 2], 'test': [['city_1'] * 2]}),
    ('snow100k_l_smile', [f'{folder}/{half}/{name}_1.jpg' for half in ('gt', 'mask', 'synthetic')
                          for folder in ('all', 'test/Snow100K-L') for name in ('beautiful_smile', 'city')],
     {'train': [['beautiful_smile_1'] * 2], 'test': [['beautiful_smile_1'] * 2]}),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'names', 'expected'), LAYOUTS)
def test_layouts_of_releases(name, names, expected):
    assert keys(plan(name, *names)) == expected


def test_every_set_is_covered():
    assert {name for name, _, _ in LAYOUTS} == set(CATALOGUE)


def test_wrong_counts_are_an_error_unless_partial(caplog):
    names = [f'Kodak24/kodim{number:02d}.png' for number in range(1, 24)]
    with pytest.raises(PreparationError, match=r'kodak24: test clean: expected 24 images, found 23\..*--partial'):
        plan('kodak24', *names, partial=False)
    with caplog.at_level(logging.WARNING):
        plan('kodak24', *names)
    assert 'expected 24 images, found 23' in caplog.text
    assert len(plan('kodak24', *names, 'Kodak24/kodim24.png', partial=False)[0].scenes) == 24


def test_images_without_partner_are_named(caplog):
    names = ['our485/low/1.png', 'our485/low/2.png', 'our485/high/2.png', 'our485/high/3.png']
    with pytest.raises(PreparationError, match=r'2 images have no partner: our485/low/1\.png, our485/high/3\.png'):
        plan('lol', *names, partial=False)
    assert keys(plan('lol', *names)) == {'train': [['2', '2']]}
    assert 'left out' in caplog.text


def test_nothing_found_says_where_it_looked():
    with pytest.raises(PreparationError, match=r'none of its images among the 1 image files.*\{\}/blur/\{\}'):
        plan('gopro', 'x/y.png')


def test_two_files_of_one_name_are_refused():
    with pytest.raises(PreparationError, match=r'a/1\.png and b/1\.tif are both image 1'):
        plan('mcmaster', 'a/1.png', 'b/1.tif')


def test_names_that_no_reader_takes_are_refused():
    with pytest.raises(PreparationError, match=r'a/ü\.png: expected a name of at most 480 ASCII characters'):
        plan('mcmaster', 'a/ü.png')


def test_listing_passes_over_hidden_files(tmp_path):
    for name in ('a/1.PNG', 'a/._1.png', '__MACOSX/1.png', '.git/1.png', 'a/readme.txt', 'a/b/2.jpeg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    names = [file.name for file in list_images([tmp_path])]
    assert names == [f'{tmp_path.name}/a/1.PNG', f'{tmp_path.name}/a/b/2.jpeg']
