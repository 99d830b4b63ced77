"""`dinoir check --time` makes a few of a run's steps, reckons its hours, and leaves nothing behind."""

import os
import re
import signal

import pytest
import torch

from dinoir_plugin.core.console import BAD, GOOD
from dinoir_plugin.models.restoration_model import RestorationModel
from dinoir_plugin.models.step_checks import TrainingError
from dinoir_plugin.preflight import step_time
from dinoir_plugin.preflight.step_time import Part, in_words

NUMBER = r'[\d.]+(e-\d+)?'


def test_a_step_of_each_stage_and_phase_is_timed_and_nothing_is_left(project, check, monkeypatch):
    seen = set()

    def step(model, iteration):
        seen.add((iteration, model.lq.shape[-1], model._phase.losses, *sorted(model.batch.tasks)))
        make(model, iteration)

    make = RestorationModel.optimize_parameters
    monkeypatch.setattr(RestorationModel, 'optimize_parameters', step)
    monkeypatch.setattr(step_time, 'ENOUGH', 1e-9)
    project.options['train'].update(total_iter=6, phases=[{'iters': 3, 'losses': ['pixel']}, {'iters': 2}])
    # BasicSR prints a line for a name that it has with its suffix alone
    project.options['train']['losses'] = {'edge': {'type': 'EdgeLoss'}}
    handler = signal.getsignal(signal.SIGTERM)
    torch.manual_seed(0)
    assert 'time' not in check().rows
    untimed = torch.get_rng_state()
    torch.manual_seed(0)
    result = check('--time')
    assert result.status == GOOD, result.out
    verdict, said = result.rows['time']
    steps = ', then '.join([
        rf'{NUMBER} s an iteration \(2 x 32 px\)', rf'{NUMBER} s \(2 x 64 px\)', rf'{NUMBER} s \(2 x 64 px\)',
    ])  # fmt: skip
    assert verdict == 'ok' and re.fullmatch(f'{steps}, 6 iterations: less than 0.1 hours on this CPU', said), said
    assert 'not found' not in result.out
    assert seen == {
        (1, 32, ('pixel',), 'denoise', 'derain'), (3, 64, ('pixel',), 'denoise', 'derain'),
        (4, 64, None, 'denoise', 'derain'),
    }  # fmt: skip
    assert torch.equal(torch.get_rng_state(), untimed) and signal.getsignal(signal.SIGTERM) is handler
    assert os.listdir(project.folder) == ['check_tiny.png']


def test_what_is_not_timed_is_said(project, check):
    project.options['train']['total_iter'] = 'often'
    result = check('--time')
    assert result.status == BAD
    assert result.rows['time'] == ('not checked', 'training steps are timed where nothing else is wrong')
    project.options['datasets'] = {'test': project.options['datasets']['val']}
    del project.options['train'], project.options['logger'], project.options['val']['val_freq']
    assert check('--time').rows['time'] == ('not checked', 'a test makes no training steps')


def test_too_little_memory_is_an_error_with_a_remedy_and_other_ends_are_none(project, check, monkeypatch):
    errors = [torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate'), TrainingError('l_pix is nan')]

    def step(model, iteration):
        raise errors.pop(0)

    monkeypatch.setattr(RestorationModel, 'optimize_parameters', step)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (int(3.1e9), int(85e9)))
    project.options['train']['amp'] = 'bf16'
    result = check('--time')
    assert result.status == BAD and result.rows['time'][0] == 'error'
    assert ('datasets.train.batch_size_per_gpu: a step of 2 x 32 px, bf16 needs more memory than is free on the GPU '
            '(3.1 GB of 85.0 GB). Take smaller batches') in result.out  # fmt: skip
    result = check('--time')
    assert result.status == GOOD
    assert result.rows['time'] == ('not checked', 'a step on random weights failed: l_pix is nan')


@pytest.mark.parametrize(
    ('gpus', 'said'),
    [
        (0, 'about 28 hours on this CPU'),
        (1, 'about 28 GPU hours'),
        (4, 'about 28 hours on 4 GPUs, about 111 GPU hours, without exchanging gradients'),
    ],
)
def test_hours_of_all_parts_and_gpus(gpus, said):
    parts = [Part(200_000, '12 x 128 px, bf16', 0.3), Part(100_000, '8 x 160 px, bf16', 0.4)]
    steps = '0.3 s an iteration (12 x 128 px, bf16), then 0.4 s (8 x 160 px, bf16)'
    assert in_words(parts, gpus) == f'{steps}, 300,000 iterations: {said}'
    assert in_words([Part(36_000, '1 x 8 px', 0.25)], 1).endswith(', 36,000 iterations: about 2.5 GPU hours')


def test_parts_end_with_the_run():
    assert step_time._starts(10, [[], []]) == [1]
    assert step_time._starts(10, [[4, 1], [2, 2, 9]]) == [1, 3, 5]
    assert step_time._starts(4, [[4, 1], [2, 9]]) == [1, 3]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('amp', ['off', 'bf16'])
def test_a_gpu_is_timed_without_being_asked(project, check, amp):
    project.options['num_gpu'] = 1
    project.options['train']['amp'] = amp
    result = check()
    assert result.status == GOOD, result.out
    assert re.search(r' 4 iterations: less than 0.1 GPU hours; memory [\d.]+ [MG]B at most of [\d.]+ GB$',
                     result.rows['time'][1]), result.out  # fmt: skip
    assert 'time' not in check('--no-time').rows
