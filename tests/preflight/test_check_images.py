"""`dinoir check` looks at all images of a run, and shows some of them."""

import os

import cv2
import numpy as np
import yaml
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from skimage import data

from dinoir_plugin.core.console import BAD, GOOD
from dinoir_plugin.data.sources import LmdbSource
from dinoir_plugin.preflight import contact_sheet
from dinoir_plugin.preflight.contact_sheet import CELL, LABEL_HEIGHT, ROW_HEIGHT, WIDTH
from tests.preflight.checking import CLEAN, RAIN, process, table, write


def test_every_bad_image_is_named(project):
    clean, rain = project.images / CLEAN, project.images / RAIN
    for number, (side, other) in enumerate(((clean, rain), (rain, clean), (clean, rain), (rain, clean), (clean, rain))):
        for folder in (side, other):
            write(folder / f'bad{number}.png', data.coffee()[:100, :100])
    write(clean / 'whole.jpg', data.coffee()[:100, :100])
    write(rain / 'whole.jpg', data.coffee()[20:120, :100])
    os.truncate(clean / 'bad0.png', 5000)
    os.truncate(rain / 'bad1.png', 0)
    (clean / 'bad2.png').write_text('these are words')
    write(rain / 'bad3.png', data.coffee()[:90, :100])
    write(clean / 'bad4.png', data.coffee()[:40, :40])
    write(rain / 'bad4.png', data.coffee()[:40, :40])
    os.truncate(clean / 'whole.jpg', (clean / 'whole.jpg').stat().st_size // 2)
    (project.folder / 'o.yml').write_text(yaml.safe_dump(project.options))
    done = process(project.folder, 'check', 'o.yml', '--full')
    assert done.returncode == BAD, done.stdout + done.stderr
    listed = done.stdout.partition('Images that cannot be used (6):\n')[2].partition('\n\n')[0]
    bad = [clean / 'bad0.png', rain / 'bad1.png', clean / 'bad2.png', rain / 'bad3.png', clean / 'bad4.png']
    for path in (*bad, clean / 'whole.jpg'):
        assert len([line for line in listed.splitlines() if line.startswith(f'  {path}')]) == 1, listed
    assert 'bad3.png is 100x90' in listed
    assert 'datasets.train.tasks.derain: 6 of 10 images cannot be used: ' in done.stdout
    assert 'datasets.train.tasks.denoise: 4 of 10 images cannot be used: ' in done.stdout
    assert table(done.stdout)['train.dpc_opt'][0] == 'ok'


def test_a_headers_look_leaves_whole_decoding_to_full(project, check):
    os.truncate(project.images / RAIN / '2.png', 5000)
    # the samples of a validation set are the first, the middle and the last image: here 0, 1 and 3
    assert check().rows['datasets.val.tasks.derain'][0] == 'ok'
    result = check('--full')
    assert result.rows['datasets.val.tasks.derain'][0] == 'error'
    assert 'datasets.val.tasks.derain: 1 of 4 images cannot be used: ' in result.out


def test_the_sheet_shows_each_task_degraded_and_target(project, check):
    result = check('--out', 'sub/folder')
    assert result.status == GOOD, result.out
    path = project.folder / 'sub' / 'folder' / 'check_tiny.png'
    assert 'sub/folder/check_tiny.png' in result.out
    assert os.listdir(project.folder) == ['sub']
    sheet = cv2.imread(str(path))
    assert sheet.shape == (LABEL_HEIGHT + 3 * ROW_HEIGHT, WIDTH, 3)
    for row, (height, width) in enumerate(((160, 160), (160, 160), (96, 160))):
        top = 2 * LABEL_HEIGHT + row * ROW_HEIGHT
        label = sheet[top - LABEL_HEIGHT : top, :CELL]
        assert label.min() < 100
        degraded, target = (sheet[top : top + height, left : left + width] for left in (0, CELL + contact_sheet.GAP))
        assert not np.array_equal(degraded, target)
        # they show the same thing, and not nothing
        assert np.corrcoef(degraded.ravel(), target.ravel())[0, 1] > 0.5
        assert target.std() > 5
    # a whole image of validation, larger than a cell, is made smaller
    assert (sheet[top : top + CELL, -CELL:] != 255).any(axis=(0, 2)).all()


def test_pairs_that_are_the_same_are_worth_a_warning(project, check):
    project.train['tasks']['derain']['dataroot_lq'] = project.train['tasks']['derain']['dataroot_gt']
    result = check()
    assert result.status == GOOD
    assert result.rows['datasets.train.tasks.derain'][0] == 'warning'
    assert 'degraded and target are equal in 3 samples' in result.out


def test_patches_that_the_encoder_takes_in_another_size_are_worth_a_warning(project, check):
    row = 'datasets.train.gt_size'
    assert check().rows[row] == ('ok', 'patches of 32 px, which the encoder takes as 28 px; '
                                      'patches of 64 px, which the encoder takes as 70 px')
    encoder = project.options['network_g']['encoder']
    encoder.update(name='test_efficientnet', layers={'shallow': 1, 'medium': 2, 'deep': 4})
    encoder.pop('model_args', None)
    project.options['train'].pop('dpc_opt')
    assert check().rows[row] == ('ok', 'patches of 32 px; patches of 64 px')
    project.train['stages'][0]['gt_size'] = 48
    result = check()
    assert result.rows[row][0] == 'warning' and result.status == GOOD
    assert 'the encoder takes patches of 48 px as 64 px' in result.out and '. 64 suits it better\n' in result.out


def test_faults_of_a_data_set_stand_in_its_row(project, check):
    del project.train['gt_size']
    del project.train['stages']
    result = check()
    assert result.status == BAD
    assert result.out.count('datasets.train.gt_size: training needs') == 1
    assert result.rows['datasets.train'][0] == 'error'
    assert result.rows['datasets.train.tasks.denoise'][0] == 'not checked'


def test_lmdb_with_missing_entries(project, check):
    root = project.images
    for name in (CLEAN, RAIN):
        files = sorted(os.listdir(root / name))
        keys = [file[:-4] for file in files]
        make_lmdb_from_imgs(str(root / name), str(root / f'{name}.lmdb'), files, keys, map_size=1 << 26)
    del project.train['tasks']['denoise'], project.options['datasets']['val']
    project.train['tasks']['derain'] = {
        'dataroot_gt': str(root / 'clean.lmdb'), 'dataroot_lq': str(root / 'rain.lmdb')
    }  # fmt: skip
    result = check('--full')
    assert result.rows['datasets.train.tasks.derain'] == (
        'ok', '4 pairs, 160x96 to 280x216, 8 bit, LMDB, all decoded'
    )  # fmt: skip
    for name in (CLEAN, RAIN):
        with (root / f'{name}.lmdb' / 'meta_info.txt').open('a') as file:
            file.write('gone.png (96,160,3) 1\nlost.png (96,160,3) 1\n')
    result = check('--full')
    assert result.status == BAD
    for name in (CLEAN, RAIN):
        for key in ('gone', 'lost'):
            assert f"{root / name}.lmdb: meta_info.txt lists '{key}', but the LMDB does not hold it" in result.out
    assert LmdbSource(str(root / 'clean.lmdb'), '').find('gone') is not None
