"""The metrics of ``val.metrics``, of images and of sets, as a validation uses them.

What is known of a metric beside its arguments stands in attributes of the registered function; BasicSR's have none.

- ``takes_floats``: it takes images in RGB, float32 in [0, 1], not rounded; the others take BGR, uint8.
- ``of_set``: it takes no images, but makes a :class:`SetMetric`.
- ``takes_device``: it has an argument ``device``, which is the model's.
- ``prepare``: called with the options before a run, it raises an OptionsError where the metric could not be taken.
- ``lower_is_better``: ``better: lower`` has to stand in the options.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from dinoir_plugin.core.errors import OptionsError

DecodedImage = np.ndarray[Any, np.dtype[Any]]
Pair = Mapping[str, DecodedImage]
NOT_ARGUMENTS = ('type', 'better')
# what BasicSR's own do not say of themselves
LOWER_IS_BETTER = ('calculate_niqe',)
HIGHER_IS_BETTER = ('calculate_psnr', 'calculate_ssim', 'calculate_psnr_all_in_one', 'calculate_ssim_all_in_one')
NEEDS = {'calculate_niqe': 'NIQE needs an image with texture, of at least two blocks of 96x96 pixels'}


class SetMetric(Protocol):
    """A metric of all images of a task together. Ranks look at different images, and the first one judges."""

    def keep(self, img: DecodedImage, img2: DecodedImage) -> Any:
        """What counts of one image, restored and target, (H, W, 3), BGR, uint8; picklable."""

    def of(self, kept: Sequence[Any]) -> float:
        """The figure of what was kept of a task's images, in the data set's order."""


class Measures:
    """All metrics of a validation.

    Args:
        metrics: Name to options, as under ``val.metrics``.
        device: The model's.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], device: torch.device) -> None:
        self.names = list(metrics)
        self._kinds = {name: METRIC_REGISTRY.get(options['type']) for name, options in metrics.items()}
        self._arguments = {name: arguments(options) for name, options in metrics.items()}
        for name, kind in self._kinds.items():
            if getattr(kind, 'takes_device', False):
                self._arguments[name]['device'] = device
        self._sets: dict[str, SetMetric] = {
            name: kind(**self._arguments[name]) for name, kind in self._kinds.items() if getattr(kind, 'of_set', False)
        }

    def of_image(self, image: str, images: Pair, floats: Pair) -> tuple[dict[str, float], dict[str, Any]]:
        """Measure one image.

        Args:
            image: Its name, for errors.
            images: Restored (``img``) and, where known, target (``img2``), (H, W, 3), BGR, uint8.
            floats: The same in RGB, float32 in [0, 1].

        Returns:
            The values of metrics of images, and what metrics of sets keep.

        Raises:
            OptionsError: A metric cannot take this image.
        """
        values, kept = {}, {}
        for name, kind in self._kinds.items():
            try:
                if name in self._sets:
                    kept[name] = self._sets[name].keep(**images)
                else:
                    pair = floats if getattr(kind, 'takes_floats', False) else images
                    values[name] = float(kind(**pair, **self._arguments[name]))
                    if math.isnan(values[name]):
                        raise ValueError('the result is not a number')
            # whatever a metric raises, the user wants to know at which image
            except Exception as error:
                height, width = images['img'].shape[:2]
                problem = f'cannot measure {image}, {height}x{width} pixels ({type(error).__name__}: {error})'
                raise OptionsError(f'val.metrics.{name}', problem, NEEDS.get(kind.__name__, '')) from error
        return values, kept

    def of_task(self, values: Sequence[Mapping[str, float]], kept: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The figures of a task from those of its images, which :meth:`of_image` gave: means, and those of the set.

        Args:
            values: Of each image.
            kept: Of each image, in the same order.
        """
        return {
            name: self._sets[name].of([entry[name] for entry in kept])
            if name in self._sets
            else sum(entry[name] for entry in values) / len(values)
            for name in self.names
        }


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """What of a metric's options is handed to it."""
    return {key: value for key, value in options.items() if key not in NOT_ARGUMENTS}


def better_value(kind: Any) -> str | None:
    """Which value of a registered metric is the better one, higher or lower; None for somebody else's, not known."""
    if kind.__name__ in LOWER_IS_BETTER or getattr(kind, 'lower_is_better', False):
        return 'lower'
    return 'higher' if kind.__name__ in HIGHER_IS_BETTER else None
