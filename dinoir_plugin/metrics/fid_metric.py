"""FID: how far the restored images of a task, taken together, are from its targets (Heusel et al., NeurIPS 2017).

The Inception network and its way of resizing to 299 pixels are torch-fidelity's (extra ``metrics``), who converted the
authors' network of 2015. Its weights are downloaded when first asked for, into torch's cache
(``~/.cache/torch/hub/checkpoints``, or below ``$TORCH_HOME``), unless ``weights`` names the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.weight_files import weight_file
from dinoir_plugin.metrics.functional.frechet import FloatArray, frechet_distance
from dinoir_plugin.metrics.measures import SET_METRIC_REGISTRY, described
from dinoir_plugin.metrics.pretrained import CPU, ByteArray, built, from_extra, to_rgb

WIDTHS = (64, 192, 768, 2048)


class FID:
    """Compare sets of images (:class:`~dinoir_plugin.metrics.measures.SetMetric`); lower is better.

    Args:
        feature: How many features of the network: 2048, which is what FID means, or those of an earlier layer, 768,
            192 or 64, for sets of few images. Figures of different features must not be mixed.
        weights: The network's file; None: torch's cache, and the download.
        device: Where the network runs.

    Raises:
        OptionsError: Another number, no extra ``metrics``, or weights that cannot be had.
    """

    def __init__(self, feature: int = 2048, weights: str | None = None, device: torch.device = CPU) -> None:
        self.feature = feature
        self.device = device
        self.network = inception(feature, weights, device)

    def keep(self, img: ByteArray, img2: ByteArray) -> FloatArray:
        """Take the features of one image.

        Args:
            img: Restored, (H, W, 3), BGR, uint8, of any size.
            img2: Target.

        Returns:
            Those of both, (2, feature), float32.
        """
        with torch.no_grad():  # one by one: their sizes may differ
            pair = [self.network(to_rgb(image, self.device))[0][0] for image in (img, img2)]
        return torch.stack(pair).cpu().numpy()

    def of(self, kept: Sequence[FloatArray]) -> float:
        """Take the FID of the images that were kept; not a number for less than two, whose spread nobody knows."""
        if len(kept) <= self.feature:
            _warn(self.feature)
        if len(kept) < 2:
            return float('nan')
        restored, target = np.stack(kept, axis=1)
        return frechet_distance(restored, target)


@SET_METRIC_REGISTRY.register()
@described(takes_device=True, lower_is_better=True)
def calculate_fid(feature: int = 2048, weights: str | None = None, device: torch.device = CPU) -> FID:
    """Make the FID of a task's images; errors as :class:`FID`.

    Args:
        feature: How many features of the network: 2048, which is what FID means, or 768, 192 or 64 for few images.
        weights: The network's file; None: torch's cache, and the download.
        device: Where the network runs.
    """
    return FID(feature, weights, device)


calculate_fid.prepare = calculate_fid

@cache
def inception(feature: int, weights: str | None = None, device: torch.device = CPU) -> nn.Module:
    """Give the network from (B, 3, H, W), RGB, uint8, to a tuple of (B, feature), one in a process for each device."""
    if feature not in WIDTHS:
        raise OptionsError('feature', f'expected one of {", ".join(map(str, WIDTHS))}, got {feature!r}')
    if device != CPU:
        return deepcopy(inception(feature, weights)).to(device)
    extractor = from_extra('torch_fidelity.feature_extractor_inceptionv3')
    file = weight_file(extractor.URL_INCEPTION_V3, 'weights', weights, check_hash=False)
    kind = extractor.FeatureExtractorInceptionV3
    return built(lambda: kind('inception-v3-compat', [str(feature)], str(file)), file, 'weights')


@cache
def _warn(feature: int) -> None:
    """Say it once in a process."""
    get_root_logger().warning(
        f'FID: a task has no more images than FID has features ({feature}). Their covariance is singular and the '
        'figure too high, the more so the fewer they are: compare it with figures of as many images only.'
    )
