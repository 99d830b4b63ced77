"""FFDNet (Zhang et al., TIP 2018, arXiv 1710.04026), written from the paper.

Constructor and parameter names are those of the authors' re-release (KAIR, github.com/cszn/KAIR, MIT), so its weights
load with ``strict=True``.
"""

from __future__ import annotations

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.conv_stack import conv_stack
from dinoir_plugin.nn.noise_level import estimate_sigma


@ARCH_REGISTRY.register(suffix='basicsr')
class FFDNet(nn.Module):
    """Denoise with convolutions at half the size that are told the noise level.

    ``restored = shuffle(model([unshuffle(x), sigma]))``: the image's four half-size parts and a map of the noise
    level go in, the four parts of the result come out. The defaults are the paper's network for colour; for grey
    images it has ``in_nc: 1, out_nc: 1, nc: 64, nb: 15``.

    Args:
        in_nc: Channels of the input.
        out_nc: Channels of the output.
        nc: Channels between.
        nb: Convolutions, at least 2.
        act_mode: ``R`` (ReLU), as KAIR's released weights need it, their batch norms merged; or ``BR`` (batch norm and
            ReLU after all but the first and the last convolution).

    Raises:
        OptionsError: An argument that cannot be built.
    """

    size_multiple = 2

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nc: int = 96, nb: int = 12, act_mode: str = 'R') -> None:
        super().__init__()
        self.model = conv_stack(in_nc * 4 + 1, out_nc * 4, nc, nb, act_mode)

    def forward(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Denoise.

        Args:
            x: (B, in_nc, H, W), RGB in [0, 1]; any size. A side that is odd is mirrored by a pixel, like those of the
                other networks here (KAIR repeats the border instead).
            sigma: Standard deviation of the noise on the scale of ``x`` (25 of 255 is 25 / 255), a number for all
                images or (B,) one for each; None: what :func:`~dinoir_plugin.nn.noise_level.estimate_sigma` says of
                each image, as trainers and tools hand over images only.

        Returns:
            (B, out_nc, H, W), not clipped.

        Raises:
            ValueError: A number outside [0, 1], or a tensor of another shape.
        """
        height, width = x.shape[-2:]
        image = pad_to_multiple(x, self.size_multiple)
        parts = F.pixel_unshuffle(image, 2)
        levels = estimate_sigma(image) if sigma is None else _for_each(sigma, x)
        noise_map = levels.to(parts.dtype).view(-1, 1, 1, 1).expand(-1, 1, *parts.shape[-2:])
        given = torch.cat([parts, noise_map], dim=1).contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(self.model(given), 2)[..., :height, :width]


def _for_each(sigma: float | Tensor, x: Tensor) -> Tensor:
    """Give the noise level of each image of ``x``, (B,)."""
    if not isinstance(sigma, Tensor):
        if not 0 <= sigma <= 1:  # NaN is no level either
            scale = f'the scale of the images (25 of 255 is {25 / 255:.3f})'
            raise ValueError(f'expected a sigma from 0 to 1, {scale}, got {sigma}')
        return x.new_full((len(x),), sigma)
    if sigma.shape != x.shape[:1]:
        raise ValueError(f'expected a sigma for each of {len(x)} images, ({len(x)},), got {tuple(sigma.shape)}')
    return sigma.to(x.device)
