"""BRDNet (Tian et al., Neural Networks 2020, Image denoising using deep CNN with batch renormalization).

Written from the paper, what it leaves open from the behaviour of the authors' release. That one is Keras: layers have
the names of its files, ``conv2d_<n>`` and ``batch_renormalization_<n>``, and :mod:`dinoir_plugin.core.keras_file` reads
those files for ``strict=True``.
"""

from __future__ import annotations

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.batch_renorm import BatchRenorm2d

UPPER = range(1, 17)  # convolutions of the upper branch but its last
LOWER = range(18, 34)  # and of the lower one
DILATION = 2
NORMED = (18, 26, 33)  # of the lower branch: not dilated, and normalised
NORMS = {number: place for place, number in enumerate((*UPPER, *NORMED), start=1)}


@ARCH_REGISTRY.register(suffix='basicsr')
class BRDNet(nn.Module):
    """Denoise by two branches of convolutions, one of them dilated; each gives the noise, and a last one the rest.

    ``restored = x - conv2d_35([x - upper(x), x - lower(x)])``. The release has a network for each noise level, 64
    channels wide. Modules to guide: ``batch_renormalization_*`` and the dilated ``conv2d_19`` to ``conv2d_32``.

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
        for number in (*UPPER, 17, *LOWER, 34, 35):
            into = {1: in_nc, 18: in_nc, 35: 2 * in_nc}.get(number, nc)
            out = in_nc if number in (17, 34, 35) else nc
            reach = DILATION if number in LOWER and number not in NORMED else 1
            self.add_module(f'conv2d_{number}', nn.Conv2d(into, out, 3, padding=reach, dilation=reach))
            if number in NORMS:
                self.add_module(f'batch_renormalization_{NORMS[number]}', BatchRenorm2d(nc))

    def forward(self, x: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (B, in_nc, H, W), RGB in [0, 1]; any size.

        Returns:
            (B, out_nc, H, W), not clipped.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        upper = x - self._branch(x, UPPER, 17)
        lower = x - self._branch(x, LOWER, 34)
        rest: Tensor = self.get_submodule('conv2d_35')(torch.cat([upper, lower], dim=1))
        return x - rest

    def _branch(self, x: Tensor, numbers: range, last: int) -> Tensor:
        for number in numbers:
            x = self.get_submodule(f'conv2d_{number}')(x)
            if number in NORMS:
                x = self.get_submodule(f'batch_renormalization_{NORMS[number]}')(x)
            x = F.relu(x, inplace=True)
        noise: Tensor = self.get_submodule(f'conv2d_{last}')(x)
        return noise
