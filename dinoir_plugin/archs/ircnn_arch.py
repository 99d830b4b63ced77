"""IRCNN (Zhang et al., CVPR 2017, arXiv 1704.03264), written from the paper.

Constructor and parameter names are those of the authors' re-release (KAIR, github.com/cszn/KAIR, MIT), so its weights
load with ``strict=True``: those of one noise level into :class:`IRCNN`, the whole file into :class:`IRCNN25`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.conv_stack import conv_stack
from dinoir_plugin.nn.noise_level import estimate_sigma

DILATIONS = (1, 2, 3, 4, 3, 2, 1)
LEVELS = 25
STEP = 2  # of 255: denoiser i is for noise up to STEP (i + 1)
FULL_SCALE = 255


@ARCH_REGISTRY.register(suffix='basicsr')
class IRCNN(nn.Module):
    """Denoise at one noise level with seven dilated convolutions: ``restored = x - model(x)``.

    Batch norms of the training are merged into the convolutions, as in the release.

    Args:
        in_nc: Channels of the input.
        out_nc: Channels of the output, as many.
        nc: Channels between.

    Raises:
        OptionsError: An argument that cannot be built.
    """

    size_multiple = 1

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nc: int = 64) -> None:
        super().__init__()
        if out_nc != in_nc:
            problem = f'expected {in_nc} like in_nc, as the noise is taken from the input, got {out_nc}'
            raise OptionsError('out_nc', problem)
        self.model = conv_stack(in_nc, out_nc, nc, len(DILATIONS), 'R', DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (B, in_nc, H, W), RGB in [0, 1]; any size.

        Returns:
            (B, out_nc, H, W), not clipped.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        return x - self.model(x)


class ChosenConv(nn.Module):
    """Convolve each image with the weights that are chosen for it; without parameters of its own."""

    def forward(self, x: Tensor, convolutions: Sequence[nn.Conv2d], choice: Sequence[int] | Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (B, C, H, W).
            convolutions: Of one shape, those to choose from.
            choice: Number of each image's, B of them; a tensor where the numbers are not known yet, as in a graph.

        Returns:
            (B, D, H, W).
        """
        dilation, padding = convolutions[0].dilation, convolutions[0].padding
        if len(convolutions) == 1:
            return F.conv2d(x, convolutions[0].weight, convolutions[0].bias, padding=padding, dilation=dilation)
        weight, bias = (_choose([getattr(each, name) for each in convolutions], choice) for name in ('weight', 'bias'))
        # one group an image
        count = len(x)
        together = x.reshape(1, -1, *x.shape[-2:])
        out = F.conv2d(together, weight, bias, padding=padding, dilation=dilation, groups=count)
        return out.reshape(count, -1, *x.shape[-2:])


def _choose(tensors: Sequence[Tensor], choice: Sequence[int] | Tensor) -> Tensor:
    """Join the tensors that are chosen along their first axis."""
    if isinstance(choice, Tensor):
        return torch.stack(list(tensors))[choice].flatten(0, 1)
    return torch.cat([tensors[number] for number in choice])


@ARCH_REGISTRY.register(suffix='basicsr')
class IRCNN25(nn.Module):
    """Denoise with one of 25 IRCNNs, that for the image's noise level: number i is for levels up to ``2 (i + 1)``.

    The level is told, or estimated from the image (:func:`~dinoir_plugin.nn.noise_level.estimate_sigma`), as trainers
    and tools hand over images only. Tiles are estimated each by itself. In training an image teaches the
    network that is chosen for it: several processes need ``find_unused_parameters: true``. Modules to guide:
    ``layers.0`` to ``layers.6``, before their ReLU.

    Args:
        in_nc: Channels of the input.
        out_nc: Channels of the output, as many.
        nc: Channels between.

    Raises:
        OptionsError: An argument that cannot be built.
    """

    size_multiple = 1

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nc: int = 64) -> None:
        super().__init__()
        for number in range(LEVELS):
            self.add_module(str(number), IRCNN(in_nc, out_nc, nc))
        self.layers = nn.ModuleList(ChosenConv() for _ in DILATIONS)

    def forward(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Denoise.

        Args:
            x: (B, in_nc, H, W), RGB in [0, 1]; any size.
            sigma: Standard deviation of the noise, of 255: a number for all images or (B,) one for each; above 50 the
                last network is taken. None: estimated for each image.

        Returns:
            (B, out_nc, H, W), not clipped.

        Raises:
            ValueError: A number outside [0, 255], or a tensor of another shape.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        choice = self._choice(x, sigma)
        networks: list[Any] = [self.get_submodule(str(number)) for number in range(LEVELS)]
        if not isinstance(choice, Tensor):
            wanted = sorted(set(choice))
            networks, choice = [networks[number] for number in wanted], [wanted.index(number) for number in choice]
        noise = x
        for place, layer in enumerate(self.layers):
            convolutions = [network.model[2 * place] for network in networks]
            noise = layer(noise if place == 0 else F.relu(noise, inplace=True), convolutions, choice)
        return x - noise

    def _choice(self, x: Tensor, sigma: float | Tensor | None) -> Sequence[int] | Tensor:
        if sigma is None:
            # two pixels a side are the least that can be looked at
            levels = estimate_sigma(pad_to_multiple(x, 2)) * FULL_SCALE
        elif isinstance(sigma, Tensor) and sigma.shape == x.shape[:1]:
            levels = sigma
        elif not isinstance(sigma, Tensor) and 0 <= sigma <= FULL_SCALE:  # NaN is no level either
            levels = torch.full((len(x),), float(sigma), dtype=torch.float64)
        else:
            what = tuple(sigma.shape) if isinstance(sigma, Tensor) else sigma
            raise ValueError(f'expected a sigma from 0 to 255, or one for each of {len(x)} images, got {what}')
        numbers = ((levels / STEP).ceil() - 1).clamp(0, LEVELS - 1).long()
        if x.is_meta or torch.compiler.is_exporting():
            return numbers
        found: list[int] = numbers.tolist()
        return found
