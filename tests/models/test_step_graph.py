"""A recorded step is the step; what only a GPU shows."""

import pytest
import torch

from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss
from dinoir_plugin.models.step_graph import WARM_UP, reason_against
from tests.models.test_restoration_model import batch, options  # noqa: F401
from tests.models.test_step_checks import built, weights


class Odd(StepLoss):
    """Does not say that it looks at tensors alone."""

    def of_step(self, outputs, batch):  # noqa: F811
        return outputs.image.mean()


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


def test_tensors_of_a_batch_can_be_exchanged():
    data = {'lq': torch.rand(2, 3, 8, 8), 'gt': torch.rand(2, 3, 8, 8), 'task': ['a', 'b'], 'mask': torch.ones(2)}
    batch = Batch.of(data, torch.device('cpu'), {'a': 0, 'b': 1})  # noqa: F811
    tensors = batch.tensors()
    assert set(tensors) == {'lq', 'gt', 'mask', 'task_numbers'}
    other = batch.with_tensors({name: value + 1 for name, value in tensors.items()})
    assert torch.equal(other.lq, batch.lq + 1) and torch.equal(other.others['mask'], torch.full((2,), 2.0))
    assert other.task_numbers.tolist() == [1, 2] and list(other.tasks) == ['a', 'b']


def test_what_cannot_be_recorded_is_named(options):  # noqa: F811
    model = built(options)
    assert reason_against(model) == ''
    model.criteria['odd'] = Odd()
    assert "the loss 'odd'" in reason_against(model)
    del model.criteria['odd']
    model.opt['dist'] = True
    assert reason_against(model) == 'ranks exchange gradients in it'
    model.opt.update(dist=False, num_gpu=2)
    assert reason_against(model) == 'several GPUs share it'


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize('amp', ['off', 'bf16'])
def test_recorded_steps_are_those_made_one_by_one(options, batch, amp, monkeypatch):  # noqa: F811
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    options['num_gpu'] = 1
    # rises on while steps are recorded ones
    options['train']['dpc_opt']['ramp'] = WARM_UP + 3
    models = [built(options, amp=amp, cuda_graph=graph) for graph in ('auto', 'off')]
    models[1].net_g.load_state_dict(models[0].net_g.state_dict())
    models[1].model_ema(0)
    for iteration in range(1, WARM_UP + 4):
        for model in models:
            model.update_learning_rate(iteration)
            model.feed_data(batch)
            model.optimize_parameters(iteration)
    assert models[0].step._graph._recording is not None
    for one, other in zip(weights(models[0]), weights(models[1])):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 if amp == 'off' else 1e-3)


@pytest.mark.gpu
@on_gpu
def test_a_step_waits_for_nothing(options, batch):  # noqa: F811
    options['num_gpu'] = 1
    model = built(options, amp='bf16', cuda_graph='off')
    for iteration in (1, 2, 3):
        model.feed_data(batch)
        torch.cuda.set_sync_debug_mode('error' if iteration == 3 else 'default')
        try:
            model.optimize_parameters(iteration)
        finally:
            torch.cuda.set_sync_debug_mode('default')


@pytest.mark.gpu
@on_gpu
def test_a_run_that_goes_on_makes_the_same_steps(options, batch, monkeypatch):  # noqa: F811
    # it records anew, and makes steps one by one before where the other one repeats
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    options['num_gpu'] = 1
    models = [built(options) for _ in range(2)]
    models[1].net_g.load_state_dict(models[0].net_g.state_dict())
    models[1].model_ema(0)
    for iteration in range(1, 2 * WARM_UP + 2):
        for model in models:
            model.update_learning_rate(iteration)
            model.feed_data(batch)
            model.optimize_parameters(iteration)
        if iteration == WARM_UP + 1:
            models[1].step._graph.forget()
    for one, other in zip(weights(models[0]), weights(models[1])):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
