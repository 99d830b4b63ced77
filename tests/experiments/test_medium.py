"""Images of medium quality: by the network of the other folds, of the very degraded images that are written."""

import cv2
import numpy as np
import pytest
import torch
import yaml

from dinoir_plugin import Restorer
from dinoir_plugin.core import network_file
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.datasets.folds import Request, make_folds
from dinoir_plugin.experiments.medium import Outcome, render
from dinoir_plugin.methods.perceive_ir import RestormerMedium

SIZES = {'dim': 4, 'blocks': [1, 0, 0, 0], 'heads': [1, 1, 1, 1], 'refinement_blocks': 0}


def checkpoint(path, seed):
    torch.manual_seed(seed)
    state = RestormerMedium(**SIZES).state_dict()
    about = network_file.Description({'type': 'RestormerMedium', **SIZES}, {}, name='medium', iteration=1)
    network_file.write(path, network_file.NetworkFile({'params': state}, about))
    return path


def test_each_image_is_restored_by_the_network_that_never_saw_it(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ('clean', 'rainy'):
        (tmp_path / folder).mkdir()
        for name in 'abcd':
            assert cv2.imwrite(str(tmp_path / folder / f'{name}.png'), rng.integers(0, 256, (24, 32, 3), np.uint8))
    clean, rainy = str(tmp_path / 'clean'), str(tmp_path / 'rainy')
    tasks = {
        'noise': {'dataroot_gt': clean, 'degradation': {'type': 'gaussian_noise', 'sigma': 25}},
        'rain': {'dataroot_gt': clean, 'dataroot_lq': rainy},
    }
    options, lists, out = tmp_path / 'options.yml', tmp_path / 'folds', tmp_path / 'images'
    options.write_text(yaml.safe_dump({'name': 'medium', 'manual_seed': 3, 'datasets': {'train': {'tasks': tasks}}}))
    with pytest.raises(OptionsError, match=r'--folds: .* has no without0\.yml'):
        render(options, lists, out)
    make_folds(options, lists, Request(heldout=0))
    with pytest.raises(OptionsError, match=r'--checkpoints: there is no .*medium_0.*: python -m basicsr\.train'):
        render(options, lists, out)
    networks = [checkpoint(tmp_path / f'{fold}.pth', fold) for fold in range(2)]
    assert render(options, lists, out, networks) == Outcome(8, 0)
    for fold, network in enumerate(networks):
        restorer = Restorer.from_checkpoint(network)
        for task, low in (('noise', out / 'noise' / 'low'), ('rain', tmp_path / 'rainy')):
            for line in (lists / f'fold{fold}' / f'{task}.txt').read_text().splitlines():
                name = line.split(', ')[-1]
                medium = cv2.imread(str(out / task / 'medium' / name))[..., ::-1]
                assert np.array_equal(restorer.restore(low / name), medium)
    assert not (out / 'rain' / 'low').exists()
    before = (out / 'noise' / 'medium' / 'a.png').read_bytes()
    (out / 'noise' / 'medium' / 'a.png').unlink()
    assert render(options, lists, out, networks) == Outcome(1, 7)
    assert (out / 'noise' / 'medium' / 'a.png').read_bytes() == before
