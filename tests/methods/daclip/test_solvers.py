"""Ways back along the diffusion: the authors' steps, fewer of them, and the order of those for few steps."""

import math

import pytest
import torch
from torch.testing import assert_close

from dinoir_plugin.methods.daclip import IRSDE
from dinoir_plugin.methods.daclip.solvers import SOLVERS, log_ratio, sample, times

MEAN, DEVIATION = 0.3, 0.05  # of clean images less the degraded one


class Gaussian:
    """Clean images that are normal around ``mu + MEAN``: the noise in x_t and the flow are known exactly."""

    def __init__(self, sde, mu):
        self.sde, self.mu = sde, mu

    def level(self, t):
        left = math.exp(-self.sde.fallen(t))
        return left, self.sde.max_sigma * math.sqrt(1 - left**2)

    def noise(self, x, t):
        left, sigma = self.level(t)
        return sigma * (x - self.mu - left * MEAN) / (left**2 * DEVIATION**2 + sigma**2)

    def flows_to(self, x):
        """Where the flow takes x_T."""
        left, sigma = self.level(self.sde.T)
        return self.mu + MEAN + DEVIATION * (x - self.mu - left * MEAN) / math.hypot(left * DEVIATION, sigma)


def start():
    torch.manual_seed(0)
    return torch.rand(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)


@pytest.mark.parametrize('kind', ['posterior', 'sde', 'ode'])
def test_with_all_steps_they_are_the_diffusions_own(kind):
    sde, (mu, noise) = IRSDE(T=20), start()
    gaussian = Gaussian(sde, mu)
    x = sde.start(mu, noise)
    for t in range(sde.T, 0, -1):
        x = sde.step(kind, x, mu, gaussian.noise(x, t), t, noise)
    assert_close(sample(sde, kind, 20, gaussian.noise, mu, lambda: noise), x, rtol=0, atol=1e-5)


def error(solver, steps):
    # so many times that those chosen are evenly spread
    sde, (mu, noise) = IRSDE(T=4000), start()
    gaussian = Gaussian(sde, mu)
    expected = gaussian.flows_to(sde.start(mu, noise))
    return (sample(sde, solver, steps, gaussian.noise, mu, lambda: noise) - expected).abs().max().item()


def test_the_second_order_is_one():
    # halving the steps' length divides the error by four, with Euler's steps by two
    errors = [error('dpm2', steps) for steps in (20, 40, 80)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2], errors
    euler = [error('ode', steps) for steps in (20, 40, 80)]
    assert euler[0] < 2.5 * euler[1] < 6.25 * euler[2] and errors[0] < euler[2] / 4, euler


@pytest.mark.parametrize('solver', ['posterior', 'dpm2-sde'])
def test_what_is_drawn_has_the_distribution_of_clean_images(solver):
    sde = IRSDE()
    mu = torch.full((1, 1, 200, 200), 0.4, dtype=torch.float64)
    gaussian = Gaussian(sde, mu)
    torch.manual_seed(1)
    found = sample(sde, solver, 20, gaussian.noise, mu, lambda: torch.randn_like(mu)) - mu
    assert found.mean().item() == pytest.approx(MEAN, abs=0.01)
    # steps of first order lose more of the deviation
    assert found.std().item() == pytest.approx(DEVIATION, abs={'posterior': 0.012, 'dpm2-sde': 0.004}[solver])


def test_times_lead_from_the_degraded_image_to_the_clean_one_evenly_in_their_logarithm():
    sde = IRSDE()
    assert times(sde, 100) == list(range(100, 0, -1)) and times(sde, 1) == [100]
    for steps in range(2, 100):
        chosen = times(sde, steps)
        assert len(set(chosen)) == steps and chosen[0] == 100 and chosen[-1] == 1
        assert chosen == sorted(chosen, reverse=True)
    gaps = [log_ratio(sde, s) - log_ratio(sde, t) for t, s in zip(times(sde, 10), times(sde, 10)[1:])]
    assert max(gaps) < 1.5 * min(gaps)
    for steps in (0, 101):
        with pytest.raises(ValueError, match='expected 1 to 100 steps'):
            times(sde, steps)


@pytest.mark.parametrize('solver', SOLVERS)
@pytest.mark.parametrize('steps', [1, 2, 5])
def test_few_steps_stay_finite(solver, steps):
    sde, (mu, noise) = IRSDE(), start()
    gaussian = Gaussian(sde, mu)
    assert sample(sde, solver, steps, gaussian.noise, mu, lambda: noise).isfinite().all()
