r"""The mean-reverting diffusion of IR-SDE (Luo et al., ICML 2023, arXiv 2301.11699), written from the paper.

.. math:: dx = \theta_t (\mu - x) dt + \sigma_t dw, \qquad \sigma_t^2 = 2 \lambda^2 \theta_t

leads from the clean image x_0 to the degraded one, mu, with noise of standard deviation lambda around it. Restoring is
the way back, on which a network predicts the noise. Time counts steps: 0 is the clean image, T the start of restoring.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from dinoir_plugin.core.constraints import Above, AtLeast
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.nn.precision import full_type

SCHEDULES = ('cosine', 'linear', 'constant')
KINDS = ('sde', 'posterior', 'ode')
# what a cosine schedule starts with (Nichol and Dhariwal, arXiv 2102.09672)
COSINE_OFFSET = 0.008
# of a linear schedule with this many steps, from first to last
LINEAR_STEPS, LINEAR_RANGE = 1000, (1e-4, 0.02)

Kind = Literal['sde', 'posterior', 'ode']


class IRSDE:
    """Hold the schedule of the diffusion and take its steps.

    Images are (B, C, H, W), in [0, 1] by custom. A time ``t`` is a whole number in 1..T, or (B,) of them, one an image.

    Args:
        max_sigma: lambda, the noise in which the degraded image ends, in 0..255.
        T: How many steps.
        schedule: How theta grows from step to step: ``cosine``, ``linear`` or ``constant``.
        eps: What remains of ``x_0 - mu`` at T.

    Attributes:
        max_sigma: lambda on the scale of images in [0, 1].
        T: How many steps.
        dt: Length of a step.
        thetas: theta_t, speed towards mu; (T + 1,) like all tables, float32, on the CPU, by time.
        sigmas: sigma_t, strength of the noise.
        thetas_cumsum: Sum of thetas from 1 to t.
        sigma_bars: Standard deviation of the noise at t around its mean.

    Raises:
        OptionsError: There is no such schedule, or ``eps`` is no share.
    """

    def __init__(
        self,
        max_sigma: Annotated[float, Above(0)] = 50.0,
        T: Annotated[int, AtLeast(1)] = 100,
        schedule: Literal['cosine', 'linear', 'constant'] = 'cosine',
        eps: Annotated[float, Above(0)] = 0.005,
    ) -> None:
        if schedule not in SCHEDULES:
            raise OptionsError('schedule', f"there is no schedule '{schedule}'", nearest(str(schedule), SCHEDULES))
        if not 0 < eps < 1:
            raise OptionsError('eps', f'expected a number between 0 and 1, got {eps}', 'The authors have 0.005')
        self.max_sigma, self.T = max_sigma / 255, T
        thetas = _thetas(schedule, T)
        total = thetas.cumsum(0) - thetas[0]
        self.dt = -math.log(eps) / total[-1].item()
        sigma_bars = self.max_sigma * (1 - (-2 * total * self.dt).exp()).sqrt()
        self.thetas, self.thetas_cumsum = thetas.float(), total.float()
        self._fallen: list[float] = (total * self.dt).tolist()
        self.sigmas = (self.max_sigma * (2 * thetas).sqrt()).float()
        self.sigma_bars = sigma_bars.float()
        # how much of x_0 - mu is left at t, and how much of that a step takes away
        remains, kept = (-total * self.dt).exp(), (-thetas * self.dt).exp()
        self._remains = remains.float()
        self._of_x, self._of_clean, self._std = (table.float() for table in self._posterior(remains, kept))
        self._elsewhere: dict[tuple[int, torch.device], Tensor] = {}

    def _posterior(self, remains: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the posterior's factors of x_t - mu and of x_0 - mu, and its standard deviation, (T + 1,) each."""
        before = torch.cat([remains[:1], remains[:-1]])
        lost, lost_before, lost_in_step = (1 - part.square() for part in (remains, before, kept))
        lost[0] = 1.0  # nothing has been lost at time 0, and no step leads there
        std = self.max_sigma * (lost_in_step * lost_before / lost).sqrt()
        return kept * lost_before / lost, before * lost_in_step / lost, std

    def start(self, mu: Tensor, noise: Tensor) -> Tensor:
        """Give the image that restoring starts from, x_T, of the degraded one and standard normal noise."""
        return mu + self.max_sigma * noise

    def state(self, x0: Tensor, mu: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """Draw x_t at once, given the clean and the degraded image and standard normal noise."""
        mean = mu + (x0 - mu) * self._at(self._remains, t, x0)
        return mean + self._at(self.sigma_bars, t, x0) * noise

    def score(self, predicted_noise: Tensor, t: int | Tensor) -> Tensor:
        """Give the gradient of the logarithm of x_t's density, as the network sees it."""
        return -predicted_noise / self._at(self.sigma_bars, t, predicted_noise)

    def clean(self, x: Tensor, mu: Tensor, predicted_noise: Tensor, t: int | Tensor) -> Tensor:
        """Give x_0 as the network sees it in x_t."""
        signal = x - mu - self._at(self.sigma_bars, t, x) * predicted_noise
        return mu + signal / self._at(self._remains, t, x)

    def step(
        self,
        kind: Kind,
        x: Tensor,
        mu: Tensor,
        predicted_noise: Tensor,
        t: int | Tensor,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Go one step back.

        Args:
            kind: ``sde`` reverses the equation, ``ode`` is the flow with the same densities and without noise, and
                ``posterior`` draws from what x_{t-1} can be, given x_t and the clean image that the network sees.
            x: x_t.
            mu: The degraded image.
            predicted_noise: What the network gives for x_t.
            t: Time of ``x``.
            noise: Standard normal; None: the mean of the step. ``ode`` takes none.

        Returns:
            x_{t-1}, not clipped.

        Raises:
            ValueError: There is no such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"expected one of {', '.join(KINDS)} as the kind of a step, got '{kind}'")
        predicted_noise = predicted_noise.to(x.dtype)
        if kind == 'posterior':
            mean = self.optimum(x, self.clean(x, mu, predicted_noise, t), mu, t)
            return mean if noise is None else mean + self._at(self._std, t, x) * noise
        sigma = self._at(self.sigmas, t, x)
        half = 0.5 if kind == 'ode' else 1.0
        drift = self._at(self.thetas, t, x) * (mu - x) - half * sigma.square() * self.score(predicted_noise, t)
        mean = x - drift * self.dt
        return mean if noise is None or kind == 'ode' else mean - sigma * math.sqrt(self.dt) * noise

    def forward_step(self, x: Tensor, mu: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """Go from x_{t-1} to x_t, towards the degraded image, with standard normal noise."""
        drift = self._at(self.thetas, t, x) * (mu - x)
        return x + drift * self.dt + self._at(self.sigmas, t, x) * math.sqrt(self.dt) * noise

    def optimum(self, x: Tensor, x0: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """Give the likeliest x_{t-1}, given x_t and the clean image; it is what training aims at."""
        return mu + self._at(self._of_x, t, x) * (x - mu) + self._at(self._of_clean, t, x) * (x0 - mu)

    def loss(self, predicted_noise: Tensor, x: Tensor, x0: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """Measure how far the step with the network's noise ends from the best one (maximum likelihood objective).

        Args:
            predicted_noise: What the network gives for x_t.
            x: x_t, from :meth:`state`.
            x0: The clean image.
            mu: The degraded image.
            t: Time of ``x``.

        Returns:
            The mean absolute difference, a scalar.
        """
        return (self.step('sde', x, mu, predicted_noise, t) - self.optimum(x, x0, mu, t)).abs().mean()

    def fallen(self, t: int) -> float:
        """Give the logarithm of ``x_0 - mu`` over what is left of it at t."""
        return self._fallen[t]

    def _at(self, table: Tensor, t: int | Tensor, x: Tensor) -> Tensor:
        """Read a table at a time, for products with ``x``: a number, or (B, 1, 1, 1)."""
        if not isinstance(t, Tensor):
            return table[t].to(full_type(x))  # a number of the CPU goes with tensors of any device
        # a training step waits for no copy of a table
        key = (id(table), t.device)
        if key not in self._elsewhere:
            self._elsewhere[key] = table.to(t.device)
        return self._elsewhere[key][t.long()].to(full_type(x)).view(-1, 1, 1, 1)


def _thetas(schedule: str, T: int) -> Tensor:
    """Give theta by time, (T + 1,), float64."""
    if schedule == 'constant':
        return torch.ones(T + 1, dtype=torch.float64, device='cpu')
    if schedule == 'linear':
        scale = LINEAR_STEPS / (T + 1)
        first, last = (scale * end for end in LINEAR_RANGE)
        return torch.linspace(first, last, T + 1, dtype=torch.float64, device='cpu')
    share = torch.arange(T + 3, dtype=torch.float64, device='cpu') / (T + 2)
    level = ((share + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).cos().square()
    return 1 - (level / level[0])[1:-1]
