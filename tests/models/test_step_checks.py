"""Numbers that are not finite never reach the weights."""

import copy
import os
import signal

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.models.step_checks import SKIPPED_IN_A_ROW, StopRequest, TrainingError
from tests.models.test_restoration_model import batch, options  # noqa: F401


def built(options, **train):  # noqa: F811
    opt = copy.deepcopy(options)
    opt['train'].update(train)
    return build_model(opt)


def weights(model):
    state = model.optimizer_g.state_dict()['state']
    moments = [value for entry in state.values() for value in entry.values()]
    return [tensor.clone() for tensor in (*model.net_g.parameters(), *model.net_g_ema.parameters(), *moments)]


def bad(batch):  # noqa: F811
    """A batch with one number that is none."""
    lq = batch['lq'].clone()
    lq[0, 0, 3, 3] = float('nan')
    return {**batch, 'lq': lq, 'lq_path': ['a/first.png', 'a/second.png'], 'task': ['derain', 'denoise']}


@pytest.mark.parametrize('amp', ['off', 'fp16'])
def test_a_skipped_step_changes_nothing_and_the_next_one_is_made(options, batch, amp):  # noqa: F811
    model = built(options, on_nonfinite='skip', amp=amp)
    model.feed_data(batch)
    model.optimize_parameters(1)
    before = weights(model)
    model.feed_data(bad(batch))
    model.optimize_parameters(2)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model)))
    assert model.step.finite.skipped == 1
    model.feed_data(batch)
    model.optimize_parameters(3)
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(model)))
    assert (model.step.finite.skipped, model.step.finite.in_a_row) == (1, 0)


def test_skipping_has_an_end(options, batch):  # noqa: F811
    model = built(options, on_nonfinite='skip')
    model.feed_data(bad(batch))
    for iteration in range(1, SKIPPED_IN_A_ROW):
        model.optimize_parameters(iteration)
    with pytest.raises(TrainingError, match=f'{SKIPPED_IN_A_ROW} steps in a row'):
        model.optimize_parameters(SKIPPED_IN_A_ROW)


def test_stopping_names_iteration_tasks_and_files_and_leaves_the_weights(options, batch):  # noqa: F811
    model = built(options)
    before = weights(model)
    model.feed_data(bad(batch))
    with pytest.raises(TrainingError, match=r'iteration 17: .*is nan.*derain: a/first.png; denoise: a/second.png'):
        model.optimize_parameters(17)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model)))


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # tests that a shell has started in the background ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_ctrl_c_is_noted_and_the_second_obeyed(handlers):
    request = StopRequest()
    request.listen()
    # a model made by hand leaves it to Python
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    request.keyboard = True
    request.listen()
    assert not request.came
    os.kill(os.getpid(), signal.SIGINT)
    assert request.came and request.words == 'Ctrl-C' and request.status == 130
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_that_is_ignored_stays_ignored(handlers):
    request = StopRequest()
    request.keyboard = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request.listen()
    os.kill(os.getpid(), signal.SIGINT)
    assert not request.came


def test_sigterm_is_noted_to_be_requeued(handlers):
    request = StopRequest()
    request.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    assert request.came and request.words == 'SIGTERM' and request.status == 75
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
