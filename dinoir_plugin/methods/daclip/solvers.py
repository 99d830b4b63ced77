"""Ways back from the degraded to the clean image on IR-SDE, in as many steps as it has times, or in a few.

With y = x - mu the diffusion is ``y_t = alpha_t y_0 + sigma_t e``, alpha_t = exp(-sum of theta), sigma_t = sigma_bar_t:
one that keeps its variance, up to a factor. So DPM-Solver++ (Lu et al., arXiv 2211.01095, its multistep form of second
order) holds for it as it stands, with lambda_t = log(alpha_t / sigma_t) and data prediction; MaRS (arXiv 2502.07856) is
the literature on such solvers of this diffusion. What remains is linear in the state, in the clean image that the
network sees, and in noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from dinoir_plugin.methods.daclip.irsde import IRSDE

Solver = Literal['posterior', 'sde', 'ode', 'dpm2', 'dpm2-sde']
SOLVERS: tuple[str, ...] = get_args(Solver)
# they look at two times at once
SECOND_ORDER = ('dpm2', 'dpm2-sde')


class Jump(NamedTuple):
    """Hold the factors of a step: of x_t - mu, of the clean image less mu, and of standard normal noise."""

    of_state: float
    of_clean: float
    of_noise: float


def times(sde: IRSDE, steps: int) -> list[int]:
    """Choose the times at which the network is called, from T down to 1, evenly in lambda as far as there are such.

    Raises:
        ValueError: More steps than times.
    """
    if not 1 <= steps <= sde.T:
        raise ValueError(f'expected 1 to {sde.T} steps, got {steps}')
    places = [log_ratio(sde, t) for t in range(1, sde.T + 1)]
    chosen: list[int] = []
    for number in range(steps):
        wanted = places[-1] + (places[0] - places[-1]) * number / max(steps - 1, 1)
        nearest = 1 + min(range(sde.T), key=lambda place: abs(places[place] - wanted))
        latest = chosen[-1] - 1 if chosen else sde.T
        chosen.append(min(latest, max(nearest, steps - number)))
    return chosen


def log_ratio(sde: IRSDE, t: int) -> float:
    """Give lambda, the logarithm of signal over noise at a time from 1."""
    return -sde.fallen(t) - math.log(_sigma(sde, t))


def jump(sde: IRSDE, solver: str, t: int, s: int) -> Jump:
    """Give the factors of a step from time ``t`` to ``s``, which is earlier; 0 is the clean image.

    ``sde`` and ``ode`` are Euler's steps of the equation in reverse and of the flow with the same densities;
    ``posterior`` draws from what x_s can be, which is DPM-Solver++'s first order for the equation; ``dpm2`` and
    ``dpm2-sde`` are its steps for flow and equation, and of second order where the clean image is extrapolated.
    """
    falls = sde.fallen(t) - sde.fallen(s)
    sigma, sigma_s = _sigma(sde, t), _sigma(sde, s)
    if solver in ('sde', 'ode'):
        pull = falls * (sde.max_sigma / sigma) ** 2 * (2 if solver == 'sde' else 1)
        noise = -sde.max_sigma * math.sqrt(2 * falls) if solver == 'sde' else 0.0
        return Jump(1 + falls - pull, pull * math.exp(-sde.fallen(t)), noise)
    alpha_s = math.exp(-sde.fallen(s))
    # exp of lambda_t - lambda_s
    ratio = math.exp(-falls) * sigma_s / sigma
    if solver == 'dpm2':
        return Jump(sigma_s / sigma, alpha_s * (1 - ratio), 0.0)
    return Jump(sigma_s / sigma * ratio, alpha_s * (1 - ratio**2), sigma_s * math.sqrt(1 - ratio**2))


def sample(
    sde: IRSDE,
    solver: str,
    steps: int,
    predict: Callable[[Tensor, int], Tensor],
    mu: Tensor,
    draw: Callable[[], Tensor],
) -> Tensor:
    """Go from a degraded image to a clean one.

    Args:
        sde: The diffusion.
        solver: See :func:`jump`.
        steps: How often the network is called.
        predict: From x_t and t to the noise in it.
        mu: The degraded image, (B, C, H, W).
        draw: Gives standard normal noise of that shape.

    Returns:
        (B, C, H, W), not clipped.
    """
    x = sde.start(mu, draw())
    before: tuple[float, Tensor] | None = None
    for t, s in pairwise([*times(sde, steps), 0]):
        clean = sde.clean(x, mu, predict(x, t), t) - mu
        factors, seen = jump(sde, solver, t, s), clean
        if solver in SECOND_ORDER and s:
            place = log_ratio(sde, t)
            if before is not None:
                rest = (log_ratio(sde, s) - place) / (place - before[0]) / 2
                seen = clean + rest * (clean - before[1])
            before = place, clean
        x = mu + factors.of_state * (x - mu) + factors.of_clean * seen
        if factors.of_noise:
            x = x + factors.of_noise * draw()
    return x


def _sigma(sde: IRSDE, t: int) -> float:
    return sde.max_sigma * math.sqrt(-math.expm1(-2 * sde.fallen(t)))
