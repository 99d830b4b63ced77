"""CBM3D (Dabov et al., ICIP 2007), by the package bm3d of its authors' university; nothing of it is learned."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.constraints import Above
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.noise_level import estimate_sigma

LEAST_SIDE = 16  # the package ends the process at 8


@ARCH_REGISTRY.register(suffix='basicsr')
class CBM3D(nn.Module):
    """Remove white Gaussian noise of known strength with CBM3D, on the CPU's cores.

    It stands where options name a network, has no parameters, and needs the package bm3d, whose licence allows
    non-commercial use only. As the package adds up in the order in which its threads end, results differ in the
    eighth digit from run to run.

    Args:
        sigma: Standard deviation of the noise, in 0..255. None: estimated for each image
            (:func:`~dinoir_plugin.nn.noise_level.estimate_sigma`), which the authors do not do.
        profile: The package's settings, such as ``np`` (normal).

    Attributes:
        size_multiple: 1: any size.

    Raises:
        OptionsError: The package is not installed.
    """

    size_multiple = 1

    def __init__(self, sigma: Annotated[float, Above(0)] | None = None, profile: str = 'np') -> None:
        super().__init__()
        try:
            import bm3d
        except ImportError as error:
            raise OptionsError('type', f'CBM3D needs the package bm3d ({error})',
                               "pip install 'dinoir_plugin[bm3d]' (non-commercial use only)") from error  # fmt: skip
        self._bm3d = bm3d
        self.sigma = sigma
        self.profile = profile

    def forward(self, lq: Tensor) -> Tensor:
        """Restore.

        Args:
            lq: (B, 3, H, W), RGB in [0, 1], noise clipped or not; any size.

        Returns:
            The same shape, not clipped, without gradient.
        """
        levels = [self.sigma / 255] * len(lq) if self.sigma else estimate_sigma(lq).tolist()
        images = [
            self._restored(image.permute(1, 2, 0).double().cpu().numpy(), level)
            for image, level in zip(lq.detach(), levels)
        ]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(lq)

    def _restored(self, image: Any, sigma: float) -> Any:
        """Restore (H, W, 3), float64, with noise of ``sigma`` on its scale."""
        if not sigma:
            return image
        height, width = image.shape[:2]
        missing = (max(0, LEAST_SIDE - height), max(0, LEAST_SIDE - width))
        image = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode='symmetric')
        if _has_colour(image):
            restored = self._bm3d.bm3d_rgb(image, sigma, self.profile)
        else:
            restored = np.stack([self._plane(plane, sigma) for plane in np.moveaxis(image, 2, 0)], axis=2)
        return restored[:height, :width]

    def _plane(self, plane: Any, sigma: float) -> Any:
        if np.ptp(plane) == 0:
            return plane
        return self._bm3d.bm3d(plane, sigma, self.profile).reshape(plane.shape)


def _has_colour(image: Any) -> bool:
    """Tell whether the package can tell colours apart: it divides by the range of each of its three channels."""
    red, green, blue = np.moveaxis(image, 2, 0)
    return all(np.ptp(channel) > 0 for channel in (red + green + blue, red - blue, red - 2 * green + blue))
