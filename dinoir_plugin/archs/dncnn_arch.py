"""DnCNN (Zhang et al., TIP 2017, arXiv 1608.03981), written from the paper.

Constructor and parameter names are those of the authors' re-release (KAIR, github.com/cszn/KAIR, MIT), so its weights
load with ``strict=True``.
"""

from __future__ import annotations

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.conv_stack import conv_stack


@ARCH_REGISTRY.register(suffix='basicsr')
class DnCNN(nn.Module):
    """Denoise by residual learning: convolutions in a row give the noise, ``restored = x - model(x)``.

    The defaults are the paper's network for one noise level, in colour. KAIR's released weights have their batch norms
    merged into the convolutions: ``act_mode: R``, with ``nb: 20`` for the blind ones (``dncnn_color_blind.pth``).

    Args:
        in_nc: Channels of the input.
        out_nc: Channels of the output, as many.
        nc: Channels between.
        nb: Convolutions, at least 2; each widens what a pixel sees by one pixel a side.
        act_mode: ``BR`` (batch norm and ReLU after all but the first and the last convolution) or ``R`` (ReLU).

    Raises:
        OptionsError: An argument that cannot be built.
    """

    size_multiple = 1

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nc: int = 64, nb: int = 17, act_mode: str = 'BR') -> None:
        super().__init__()
        if out_nc != in_nc:
            problem = f'expected {in_nc} like in_nc, as the noise is taken from the input, got {out_nc}'
            raise OptionsError('out_nc', problem)
        self.model = conv_stack(in_nc, out_nc, nc, nb, act_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (B, in_nc, H, W), RGB in [0, 1]; any size.

        Returns:
            (B, out_nc, H, W), not clipped.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        return x - self.model(x)
