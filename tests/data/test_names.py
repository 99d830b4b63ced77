"""Names of images as people have them: lists, links, letters, endings; the same for folders and LMDBs."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from conftest_data import write

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.sources import FolderSource
from dinoir_plugin.imaging.formats import ENDINGS

IMAGE = np.full((20, 24, 3), 90, np.uint8)
NOISE = {'type': 'gaussian_noise', 'sigma': 25}


def fill(folder, *names):
    for name in names:
        write(folder / f'{name}.png', IMAGE)
    return str(folder)


def taken(options, task):
    """The names of the pairs that a task makes, clean and degraded."""
    dataset = MixedDegradationDataset(options(tasks={'x': task}, gt_size=16, phase='val'))
    items = [dataset[number] for number in range(len(dataset))]
    return [(os.path.basename(item['gt_path']), os.path.basename(item['lq_path'])) for item in items]


@pytest.mark.parametrize('text', [
    'my photo 01.png (64,80,3)\nmy photo 02.png (64,80,3)\n',
    'my photo 01.png\nmy photo 02.png',
    '\ufeffmy photo 01.png (64,80,3)\r\n\r\nmy photo 02.png (64,80,3)\r\n',
    'my photo 01.png, my photo 01.png\nmy photo 02.png,my photo 02.png\n',
    'my photo 01.png\tmy photo 01.png\nmy photo 02.png my photo 02.png\n',
    'my photo 01 (64,80,3)\nmy photo 02 (64,80)\n',
    'gt/my photo 01.png (64,80,3) 1\ngt\\my photo 02.png 0.5 sunny\n',
    'my photo 01.png (64,80,3), my photo 01.png (64,80,3)\nmy photo 02.PNG\n',
    'my photo 02\rmy photo 01\r',
])  # fmt: skip
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_report_25_lists_as_people_write_them(options, tmp_path, text, encoding):
    names = ('my photo 01', 'my photo 02', 'other')
    roots = {'dataroot_gt': fill(tmp_path / 'gt', *names), 'dataroot_lq': fill(tmp_path / 'lq', *names)}
    (tmp_path / 'list.txt').write_bytes(text.encode(encoding))
    found = taken(options, {**roots, 'meta_info_file': str(tmp_path / 'list.txt')})
    assert found == [(f'{name}.png', f'{name}.png') for name in names[:2]]


def test_report_25_a_list_of_pairs_says_which_belong_together(options, tmp_path):
    roots = {'dataroot_gt': fill(tmp_path / 'gt', 'a, b', 'b.c', 'd'),
             'dataroot_lq': fill(tmp_path / 'lq', 'x', 'y z', 'd')}  # fmt: skip
    listed = {**roots, 'meta_info_file': str(tmp_path / 'list.txt')}
    (tmp_path / 'list.txt').write_text('b.c.png, lq/y z.png\na, b.png, x.png\n')
    assert taken(options, listed) == [('a, b.png', 'x.png'), ('b.c.png', 'y z.png')]
    (tmp_path / 'list.txt').write_text('d.png, none.png\n')
    with pytest.raises(OptionsError, match=r'dataroot_lq: .*d \(expected none\.png\)'):
        taken(options, listed)
    (tmp_path / 'list.txt').write_text('zebra.png (1,2,3)\n')
    with pytest.raises(OptionsError, match=r'meta_info_file: .*zebra\.png \(1,2,3\)'):
        taken(options, listed)
    (tmp_path / 'list.txt').write_text('\ufeff\n\n')
    with pytest.raises(OptionsError, match='lists no image'):
        taken(options, listed)


def test_report_31_a_dead_link_in_a_training_folder_is_named(options, tmp_path):
    root = Path(fill(tmp_path / 'gt', 'a'))
    (root / 'b.png').symlink_to(root / 'nowhere.png')
    (root / 'c.png').symlink_to('c.png')
    (root / 'd.png').symlink_to('a.png')
    (root / 'e.png').symlink_to(tmp_path)
    dataset = MixedDegradationDataset(options(tasks={'x': {'dataroot_gt': str(root), 'degradation': NOISE}}, gt_size=8))
    with pytest.raises(OptionsError, match=r'2 of 4 images cannot be used: .*b\.png: the link leads nowhere; .*c\.png'):
        dataset.check_images()
    with pytest.raises(ValueError, match=r'[bc]\.png: the link leads nowhere'):
        [dataset[number] for number in range(8)]


def test_letters_composed_and_apart_are_the_same_name(options, tmp_path):
    forms = [unicodedata.normalize(form, 'Grün é') for form in ('NFC', 'NFD')]
    roots = {'dataroot_gt': fill(tmp_path / 'gt', forms[0]), 'dataroot_lq': fill(tmp_path / 'lq', forms[1])}
    assert taken(options, roots) == [(f'{forms[0]}.png', f'{forms[1]}.png')]
    for form in forms:
        (tmp_path / 'list.txt').write_text(f'{form}.png (20,24,3)\n', encoding='utf-8')
        assert len(taken(options, {**roots, 'meta_info_file': str(tmp_path / 'list.txt')})) == 1
    if sys.platform == 'linux':
        fill(tmp_path / 'gt', forms[1])
        with pytest.raises(OptionsError, match='share the name'):
            FolderSource(roots['dataroot_gt'], 'x')


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems take no such names')
def test_names_that_are_no_utf8_are_names(options, tmp_path):
    roots = {'dataroot_gt': fill(tmp_path / 'gt', 'a', 'b'), 'dataroot_lq': fill(tmp_path / 'lq', 'a', 'b')}
    for folder in roots.values():
        shutil.move(os.path.join(folder, 'b.png'), os.fsencode(folder) + b'/gr\xfcn.png')
    (tmp_path / 'list.txt').write_bytes(b'gr\xfcn.png (20,24,3)\n')
    ((clean, degraded),) = taken(options, {**roots, 'meta_info_file': str(tmp_path / 'list.txt')})
    assert os.fsencode(clean) == os.fsencode(degraded) == b'gr\xfcn.png'


def test_endings_are_those_of_all_rooms(tmp_path):
    for number, ending in enumerate(ENDINGS):
        (tmp_path / f'{number:02d}{ending.upper() if number % 2 else ending}').write_bytes(b'')
    assert len(FolderSource(str(tmp_path), 'x')) == len(ENDINGS)
