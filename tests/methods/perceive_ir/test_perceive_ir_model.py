"""The probe of Perceive-IR's second stage: when it is made, what the loss does with it, and how a run goes on."""

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.preflight.loss_items import loss_items

pytestmark = pytest.mark.filterwarnings('ignore:.*random weights')
NETWORK = {'type': 'RestormerMedium', 'dim': 4, 'blocks': [1, 0, 0, 0], 'heads': [1] * 4, 'refinement_blocks': 0}


@pytest.fixture
def options(tmp_path):
    (tmp_path / 'clean').mkdir()
    rng = np.random.default_rng(0)
    for name in 'abc':
        assert cv2.imwrite(str(tmp_path / 'clean' / f'{name}.png'), rng.integers(0, 256, (32, 32, 3), np.uint8))
    clean = str(tmp_path / 'clean')
    tasks = {
        'noise': {'dataroot_gt': clean, 'degradation': {'type': 'gaussian_noise', 'sigma': 25}, 'weight': 3},
        'dark': {'dataroot_gt': clean, 'degradation': {'type': 'gaussian_noise', 'sigma': 75}},
    }
    names = ('models', 'training_states', 'visualization', 'experiments_root')
    return {
        'name': 'stage2', 'model_type': 'PerceiveIRModel', 'num_gpu': 0, 'dist': False, 'is_train': True,
        'rank': 0, 'world_size': 1, 'manual_seed': 0, 'network_g': NETWORK, 'logger': {}, 'val': {},
        'datasets': {'train': {'name': 'x', 'type': 'MixedDegradationDataset', 'phase': 'train', 'tasks': tasks,
                               'gt_size': 16, 'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0}},
        'path': {name: str(tmp_path) for name in names},
        'train': {
            'total_iter': 8, 'optim_g': {'type': 'Adam', 'lr': 1.0e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]}, 'pixel_opt': {'type': 'L1Loss'},
            'dpl_opt': {'type': 'DifficultyAdaptiveLoss', 'weights': 'random', 'reference': 'task_probe'},
        },
        'probe': {'every': 2, 'images': 2},
    }  # fmt: skip


def step(model, iteration):
    model.update_learning_rate(iteration)
    batch = {'lq': torch.rand(2, 3, 16, 16), 'gt': torch.rand(2, 3, 16, 16), 'task': ['noise', 'dark']}
    model.feed_data(batch)
    model.optimize_parameters(iteration)
    return dict(model.criteria['dpl'].standing)


def test_the_network_is_probed_and_a_resumed_run_goes_on(options, tmp_path):
    torch.manual_seed(0)
    model = build_model(options)
    found = [step(model, iteration) for iteration in range(1, 6)]
    assert set(found[0]) == {'noise', 'dark'} and found[0]['noise'] > found[0]['dark']
    assert [a == b for a, b in pairwise(found)] == [True, False, True, False]
    content = json.loads((tmp_path / 'probe.json').read_text())
    assert list(content) == ['0', '2', '4'] and content['4'] == found[4]
    loss = model.criteria['dpl']
    batch = Batch(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), ['dark', 'noise'])
    assert loss._own(batch.lq, batch).tolist() == pytest.approx([found[4]['dark'], found[4]['noise']])
    loss.reference = 'probe'
    assert loss._own(batch.lq, batch).tolist() == pytest.approx([sum(found[4].values()) / 2] * 2)
    # after three iterations, with other weights: what was measured after two counts, and what came later does not
    options['path']['resume_state'] = 'x'
    options['path'].pop('pretrain_network_g', None)
    resumed = build_model(options)
    assert step(resumed, 4) == found[3]
    assert step(resumed, 5) != found[4]
    content = json.loads((tmp_path / 'probe.json').read_text())
    assert list(content) == ['0', '2', '4'] and content['2'] == found[2]


def test_probes_that_cannot_be_made_are_refused(options):
    options['probe'] = {}
    # as the trainer's loader sets it
    options['datasets']['train']['epoch_iters'] = 6
    assert build_model(options)._every == 6
    del options['datasets']['train']['epoch_iters']
    with pytest.raises(OptionsError, match=r'probe\.every: expected a number of iterations'):
        build_model(options)
    options['model_type'] = 'RestorationModel'
    said = 'train.dpl_opt.reference: task_probe is what PerceiveIRModel measures, and the model is RestorationModel'
    with pytest.raises(OptionsError) as error:
        build_model(options)
    assert str(error.value).startswith(said)
    (item,) = loss_items(options, with_network=False)[1:]
    with pytest.raises(OptionsError) as error:
        item.check()
    assert str(error.value).startswith(said)
