import math

import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.daclip import IRSDE
from tests.conftest import relative_error

TABLES = ('thetas', 'sigmas', 'thetas_cumsum', 'sigma_bars')
# the authors form the posterior's factors of tables in float32
TOLERANCE = {'posterior': 1e-4, 'sde': 1e-5, 'ode': 1e-5}


@pytest.fixture(scope='module')
def sde():
    return IRSDE(max_sigma=50, T=100, schedule='cosine', eps=0.005)


@pytest.fixture(scope='module')
def tensors(golden):
    return golden('daclip/irsde')[1]


def test_tables_are_the_authors(sde, tensors):
    for name in TABLES:
        table = getattr(sde, name)
        assert table.shape == (101,)
        assert relative_error(table, tensors[f'output/{name}']) < 1e-6
    assert (sde.dt, sde.max_sigma) == pytest.approx((tensors['output/dt'].item(), tensors['output/max_sigma'].item()))


def test_training_aims_at_what_the_authors_do(sde, tensors):
    x0, mu = tensors['input/x0'], tensors['input/mu']
    t, noise, predicted = (tensors[f'input/train/{name}'] for name in ('timesteps', 'noise', 'predicted_noise'))
    x = sde.state(x0, mu, t, noise)
    assert relative_error(x, tensors['output/train/state']) < 1e-5
    assert relative_error(sde.score(predicted, t), tensors['output/train/score']) < 1e-5
    assert relative_error(sde.step('sde', x, mu, predicted, t), tensors['output/train/expectation']) < 1e-5
    assert relative_error(sde.optimum(x, x0, mu, t), tensors['output/train/optimum']) < 1e-4
    assert relative_error(sde.loss(predicted, x, x0, mu, t), tensors['output/train/loss_l1']) < 1e-4


def test_a_step_of_each_kind(sde, tensors):
    x, mu, t = tensors['input/xT'], tensors['input/mu'], tensors['input/step/t'].item()
    predicted, noise = tensors['output/step/noise'], tensors['input/noise'][0]
    assert relative_error(sde.clean(x, mu, predicted, t), tensors['output/step/x0']) < 1e-5
    for kind, tolerance in TOLERANCE.items():
        step = sde.step(kind, x, mu, predicted, t, noise)
        assert relative_error(step, tensors[f'output/step/{kind}']) < tolerance
        each = sde.step(kind, x, mu, predicted, torch.full((2,), t), noise)
        torch.testing.assert_close(each, step, rtol=0, atol=1e-6)
    for kind in ('sde', 'posterior'):
        mean = sde.step(kind, x, mu, predicted, t)
        assert relative_error(mean, tensors[f'output/step/{kind}_mean']) < TOLERANCE[kind]


def predicted_by_formula(sde, x, tensors, t):
    """Stand for the network, as in the golden file."""
    x0, mu = tensors['input/x0'], tensors['input/mu']
    mean = sde.state(x0, mu, t, torch.zeros_like(x0))
    return 0.9 * (x - mean) / sde.sigma_bars[t] + 0.1 * torch.sin(3 * x)


@pytest.mark.parametrize('kind', TOLERANCE)
def test_all_steps_back(kind, sde, tensors):
    x = tensors['input/xT']
    for t, noise in zip(range(100, 0, -1), tensors['input/noise']):
        x = sde.step(kind, x, tensors['input/mu'], predicted_by_formula(sde, x, tensors, t), t, noise)
    assert relative_error(x, tensors[f'output/reverse_{kind}']) < TOLERANCE[kind]


def test_all_steps_forward(sde, tensors):
    x = tensors['input/x0']
    for t, noise in zip(range(1, 101), tensors['input/noise']):
        x = sde.forward_step(x, tensors['input/mu'], t, noise)
    assert relative_error(x, tensors['output/forward']) < 1e-5


@pytest.mark.parametrize('schedule', ['cosine', 'linear', 'constant'])
def test_true_noise_leads_back_to_the_clean_image(schedule):
    sde = IRSDE(T=20, schedule=schedule, eps=0.01)
    x0, mu, noise = torch.rand(3, 2, 3, 4, 4, dtype=torch.float64)
    x = sde.state(x0, mu, 20, noise)
    torch.testing.assert_close(sde.clean(x, mu, noise, 20), x0, rtol=0, atol=1e-6)
    assert math.isclose(sde._remains[-1].item(), 0.01, rel_tol=1e-5)
    # the posterior takes its own last step there exactly, whatever noise comes
    x = sde.state(x0, mu, 1, noise)
    torch.testing.assert_close(sde.step('posterior', x, mu, noise, 1, noise), x0, rtol=0, atol=1e-6)


def test_noise_in_half_precision_leaves_images_in_float32(sde):
    x, mu, predicted = torch.rand(3, 2, 3, 4, 4)
    predicted = predicted.half()
    for kind in TOLERANCE:
        for t in (3, torch.tensor([3, 3])):
            step = sde.step(kind, x, mu, predicted, t)
            torch.testing.assert_close(step, sde.step(kind, x, mu, predicted.float(), t), rtol=0, atol=1e-6)


def test_unknown_words_are_refused(sde):
    with pytest.raises(OptionsError, match="schedule: there is no schedule 'cosin'"):
        IRSDE(schedule='cosin')
    with pytest.raises(ValueError, match="expected one of sde, posterior, ode as the kind of a step, got 'euler'"):
        sde.step('euler', *torch.zeros(3, 1, 3, 2, 2), 1)
