"""Folds: scenes stay whole, lists are what tasks take, and folds that serve nothing are refused."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.folds import Request, make_folds

NOISE = {'type': 'gaussian_noise', 'sigma': 25}


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Options of a training: noise on six images of three scenes, and haze, two versions of each of four images."""
    monkeypatch.chdir(tmp_path)
    image = np.zeros((8, 8, 3), np.uint8)
    for folder in ('clean', 'clear', 'hazy'):
        (tmp_path / folder).mkdir()
    for name in ('a_1', 'a_2', 'b_1', 'b_2', 'c_1', 'c_2'):
        assert cv2.imwrite(str(tmp_path / 'clean' / f'{name}.png'), image)
    for number in range(4):
        assert cv2.imwrite(str(tmp_path / 'clear' / f'{number}.png'), image)
        for version in ('0.8_0.1', '0.9_0.2'):
            assert cv2.imwrite(str(tmp_path / 'hazy' / f'{number}_{version}.png'), image)
    tasks = {
        'noise': {'dataroot_gt': 'clean', 'degradation': NOISE},
        'haze': {'dataroot_gt': 'clear', 'dataroot_lq': 'hazy', 'pairing': 'reside'},
    }
    path = tmp_path / 'options.yml'
    path.write_text(yaml.safe_dump({'name': 'medium', 'datasets': {'train': {'tasks': tasks}}}))
    return path


def listed(out, part, task):
    return (out / part / f'{task}.txt').read_text().split()


def test_scenes_stay_whole_and_the_lists_are_what_tasks_take(options, tmp_path):
    out = tmp_path / 'folds'
    counts = make_folds(options, out, Request(scenes={'noise': '(.+)_'}, heldout=0.3))
    assert counts == {'noise': [4, 2, 2], 'haze': [4, 4, 2]}
    for task, pattern in (('noise', '_'), ('haze', '_')):
        scenes = [{name.split(pattern)[0] for name in listed(out, f'fold{fold}', task)} for fold in range(2)]
        assert not scenes[0] & scenes[1]
        assert sorted(listed(out, 'fold0', task)) == sorted(listed(out, 'without1', task))
        held_out, left = (listed(out, part, task) for part in ('heldout', 'train'))
        assert not {name.split('_')[0] for name in held_out} & {name.split('_')[0] for name in left}
        assert len(held_out) + len(left) == sum(counts[task][:2])
    for fold in range(2):
        written = yaml.safe_load((out / f'without{fold}.yml').read_text())
        assert written['name'] == f'medium_{fold}'
        for name, block in written['datasets']['train']['tasks'].items():
            task = Task(name, TaskOptions(**block))
            assert [task.seen(number) for number in range(len(task))] == [
                Path(line).stem for line in listed(out, f'without{fold}', name)
            ]


def test_sub_images_of_one_image_are_one_scene(options, tmp_path):
    for path in (tmp_path / 'clean').iterdir():
        path.rename(path.with_name(path.name.replace('_', '_s00')))
    make_folds(options, tmp_path / 'folds', Request(heldout=0))
    scenes = [{name[0] for name in listed(tmp_path / 'folds', f'fold{fold}', 'noise')} for fold in range(2)]
    assert not scenes[0] & scenes[1]


def test_of_many_images_that_are_held_out_few_are_listed(options, tmp_path):
    out = tmp_path / 'folds'
    assert make_folds(options, out, Request(heldout=0.5, most=2))['haze'] == [4, 4, 2]
    assert len(listed(out, 'heldout', 'haze')) == 2 and len(listed(out, 'train', 'haze')) == 4


def test_folds_of_the_release_follow_from_the_paths(options, tmp_path):
    out = tmp_path / 'folds'
    make_folds(options, out, Request(by='release', heldout=0))
    for name in listed(out, 'fold1', 'haze'):
        digest = hashlib.sha1(f'haze|hazy/{name}'.encode()).digest()
        assert digest[7] % 2 == 1
    assert not (out / 'heldout').exists()


@pytest.mark.parametrize(('request_', 'said'), [
    (Request(scenes={'noise': '(.*_|)'}, folds=1), r'--folds: expected 2 or more, got 1'),
    (Request(scenes={'noise': r'(\w)*'}, heldout=1.0), r'--heldout: expected a share'),
    (Request(most=0), r'--heldout-images: expected 1 or more, got 0'),
    (Request(scenes={'noise': '^()'}), r'tasks\.noise: fold 0 would hold all 6 images, and nothing is left'),
    (Request(scenes={'noise': '_'}), r'--scene: expected a group in the pattern'),
    (Request(scenes={'noise': '(b)'}), r"--scene: the pattern '\(b\)' does not fit a_1"),
    (Request(scenes={'noise': '('}), r'--scene: .* is no pattern'),
    (Request(scenes={'rain': '(.)'}), r"--scene: there is no task 'rain'"),
    (Request(heldout=0.99), r'all 8 images would be held out'),
])  # fmt: skip
def test_folds_that_serve_nothing_are_refused_in_one_line(request_, said, options, tmp_path):
    with pytest.raises(OptionsError, match=said) as error:
        make_folds(options, tmp_path / 'folds', request_)
    assert '\n' not in str(error.value)
