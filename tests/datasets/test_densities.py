"""Lists of test images by density."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.densities import amount, by_amount
from dinoir_plugin.datasets.prepare import prepare
from dinoir_plugin.datasets.recipe import Recipe


def test_parts_are_equal_and_from_the_densest_on():
    amounts = {'a': 1.0, 'b': 5.0, 'c': 3.0, 'd': 5.0, 'e': 0.0, 'f': 2.0, 'g': 4.0}
    assert by_amount(amounts, ('high', 'medium', 'light')) == {
        'high': ['b', 'd'], 'medium': ['c', 'f', 'g'], 'light': ['a', 'e'],
    }  # fmt: skip


def test_the_amount_is_the_mean_absolute_difference_of_levels():
    clean = np.full((4, 6, 3), 100, np.uint8)
    rainy = clean.copy()
    rainy[:2] = 255
    rainy[2] = 90
    assert amount(rainy, clean) == pytest.approx((155 * 2 + 10) / 4)


def test_the_test_set_of_did_mdn_is_listed_by_density(photograph, write, request_for):
    for number in range(6):
        clean = photograph(number) // 2
        rain = np.where(np.random.default_rng(0).random((*clean.shape[:2], 1)) < 0.1 * (number + 1), 255, clean)
        write(f'DID-MDN-test/{number}.png', np.hstack([rain.astype(np.uint8), clean]))
    request = request_for()
    prepare(CATALOGUE['did_mdn'], request)
    folder = request.out / 'did_mdn' / 'test'
    assert {path.stem: path.read_text().split() for path in folder.glob('*.txt')} == {
        'high': ['4', '5'], 'medium': ['2', '3'], 'light': ['0', '1'],
    }  # fmt: skip
    roots = {'dataroot_gt': str(folder / 'clean.lmdb'), 'dataroot_lq': str(folder / 'rain.lmdb')}
    task = Task('derain', TaskOptions(**roots, meta_info_file=str(folder / 'high.txt')))
    assert [task.stem(number) for number in range(len(task))] == ['4', '5']
    (folder / 'high.txt').unlink()
    prepare(CATALOGUE['did_mdn'], request)
    assert (folder / 'high.txt').read_text() == '4\n5\n'


def test_sub_images_are_not_listed(photograph, write, request_for):
    write('DID-MDN-test/1.png', cv2.hconcat([photograph(0), photograph(1)]))
    request = request_for(recipe=Recipe(sub_images=(20, 20)))
    prepare(CATALOGUE['did_mdn'], request)
    assert not list((request.out / 'did_mdn' / 'test').glob('*.txt'))
