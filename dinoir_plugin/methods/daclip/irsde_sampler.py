"""Restore an image with a network of IR-SDE, in steps back along the diffusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from dinoir_plugin.core.constraints import AtLeast, Within
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import as_outputs
from dinoir_plugin.data.sampling import file_rng
from dinoir_plugin.inference.sampler import Network, Sampler, register_sampler
from dinoir_plugin.methods.daclip.irsde import IRSDE
from dinoir_plugin.methods.daclip.solvers import Solver, sample

TRIAL_STEPS = 2  # a solver of second order keeps what the step before saw


@register_sampler
class IRSDESampler(Sampler):
    """Restore by going back along the diffusion that the network was trained for.

    Noise is drawn on the CPU by seed and file name: an image gets the same result whatever is restored beside it, on
    any device, as a whole; in tiles all of them see parts of the same noise.

    Args:
        solver: ``posterior`` (the authors' since 2024, the default), ``sde`` and ``ode`` (Euler's steps of the equation
            and of its flow), or of second order and for few steps ``dpm2`` (of the flow) and ``dpm2-sde``.
        steps: How often the network is called, at most T of the network's diffusion; default: T.
        seed: Of the noise, with the file's name.
        temperature: Factor of all noise that is drawn, 0 to 1. With 1, the paper's, the result is one of the images
            that the degraded one can come from; with 0 it is near to their mean, smoother and of higher PSNR (ours).
    """

    def __init__(
        self, solver: Solver = 'posterior', steps: Annotated[int, AtLeast(1)] | None = None,
        seed: Annotated[int, AtLeast(0)] = 0, temperature: Annotated[float, Within(0, 1)] = 1.0,
    ) -> None:  # fmt: skip
        self.solver, self.steps, self.seed, self.temperature = solver, steps, seed, temperature

    def check(self, network: nn.Module) -> None:
        """Refuse a network without a diffusion, and more steps than that has."""
        sde = diffusion_of(network, 'type')
        if self.steps is not None and self.steps > sde.T:
            problem = f"expected at most {sde.T}, the T of the network's diffusion, got {self.steps}"
            raise OptionsError('steps', problem)

    def calls(self, network: nn.Module) -> int:
        """Count the steps."""
        return self.steps or diffusion_of(network, 'type').T

    def trial(self) -> IRSDESampler:
        """Give one of two steps at most."""
        return IRSDESampler(self.solver, min(self.steps or TRIAL_STEPS, TRIAL_STEPS), self.seed, self.temperature)

    def restore(self, network: Network, lq: Tensor) -> Tensor:
        """Sample; see :meth:`Sampler.restore`."""
        sde = diffusion_of(network.module, 'type')

        def predict(x: Tensor, t: int) -> Tensor:
            # of all times the same calls, to be repeated as one CUDA graph
            return as_outputs(network(lq, state=x, time=x.new_full((1,), t))).image.float()

        draw = _noise(self.seed, self.temperature, network.names or ('',) * len(lq), lq)
        return sample(sde, self.solver, self.calls(network.module), predict, lq, draw)


def diffusion_of(network: Any, path: str) -> IRSDE:
    """Give the diffusion that a network predicts the noise of.

    Raises:
        OptionsError: It has none; its path is ``path``.
    """
    sde = getattr(network, 'sde', None)
    if not isinstance(sde, IRSDE):
        raise OptionsError(path, f'expected a network of IR-SDE, such as IRSDEArch, got {type(network).__name__}')
    return sde


def _noise(seed: int, scale: float, names: Sequence[str], like: Tensor) -> Callable[[], Tensor]:
    # not the random numbers that a data set draws for a file of that name
    generators = [file_rng(seed, f'noise of IR-SDE/{name}') for name in names]

    def draw() -> Tensor:
        drawn = [generator.standard_normal(like.shape[1:], dtype=np.float32) for generator in generators]
        return scale * torch.from_numpy(np.stack(drawn)).to(like)

    return draw
