"""A seeded choice of training images: what is taken, and that it is the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.choosing import choose, renamed
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.planning import File, plan_splits
from dinoir_plugin.datasets.prepare import prepare
from dinoir_plugin.datasets.recipe import Choice


def plans(order=1, scenes=6):
    names = [f'OTS/hazy/{scene:04}_{beta}_0.2.jpg' for scene in range(scenes) for beta in (0.8, 1, 1.2)]
    names += [f'OTS/clear/{scene:04}.jpg' for scene in range(scenes)]
    return plan_splits(CATALOGUE['ots'], [File(f'/{name}', name) for name in names[::order]], partial=True)


def taken(choice, order=1):
    (plan,) = choose(CATALOGUE['ots'], plans(order), choice)
    return [[part.key for part in scene.parts] for scene in plan.scenes], plan.digest


def test_images_are_those_of_numpys_generator_whatever_the_order_of_files():
    keys = sorted(f'{scene:04}_{beta}_0.2' for scene in range(6) for beta in (0.8, 1, 1.2))
    expected = {keys[number] for number in np.random.default_rng(3).choice(18, 5, replace=False)}
    scenes, digest = taken(Choice(5, seed=3))
    assert {key for scene in scenes for key in scene[:-1]} == expected
    assert all(scene[-1] == scene[0][:4] and len(scene) > 1 for scene in scenes)
    assert digest == taken(Choice(5, seed=3), order=-1)[1]
    assert digest != taken(Choice(5, seed=4))[1] != taken(Choice(6, seed=4))[1]


def test_a_choice_is_known_by_its_roots_name():
    dataset = renamed(CATALOGUE['rain100l'], Choice(50, 7))
    assert [split.folder for split in dataset.splits] == ['rain100l/train_50_seed7', 'rain100l/test']


def test_more_than_there_are_and_sets_without_training_are_refused():
    with pytest.raises(PreparationError, match='--choose 19, but there are 18 images'):
        taken(Choice(19))
    (plan,) = plan_splits(CATALOGUE['mcmaster'], [File('/1.tif', 'McM/1.tif')], partial=True)
    with pytest.raises(PreparationError, match='takes images of a training set, and there is none'):
        choose(CATALOGUE['mcmaster'], [plan], Choice(1))


def test_chosen_roots_stand_beside_the_whole_ones(photograph, write, request_for, read_root):
    for scene in range(3):
        write(f'OTS/clear/{scene:04}.jpg', photograph(scene))
        for beta in (0.8, 1):
            write(f'OTS/hazy/{scene:04}_{beta}_0.2.jpg', photograph(scene))
    whole = prepare(CATALOGUE['ots'], request_for())
    chosen = prepare(CATALOGUE['ots'], request_for(choice=Choice(2, 1)))
    assert [row.images for row in whole] == [6, 3]
    assert chosen[0].images == 2
    out = request_for().out / 'reside'
    assert {row.root.parent for row in chosen} == {out / 'ots_2_seed1'}
    hazy, clear = read_root(out / 'ots_2_seed1' / 'hazy.lmdb'), read_root(out / 'ots_2_seed1' / 'clear.lmdb')
    assert {key.split('_')[0] for key in hazy} == set(clear)
    assert prepare(CATALOGUE['ots'], request_for(choice=Choice(2, 1))) == chosen
