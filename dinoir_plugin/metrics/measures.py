"""The metrics of ``val.metrics``, of images and of sets, as a validation uses them.

METRIC_REGISTRY of BasicSR holds metrics of an image and its target. Those of all images together stand in a registry
of their own, whose functions take the options and make a :class:`SetMetric`.

What is known of a metric beside its arguments stands in attributes of the registered function; BasicSR's have none.

- ``takes_floats``: it takes images in RGB, float32 in [0, 1], not rounded, too; the others take BGR, uint8 only.
- ``takes_device``: it has an argument ``device``, which is the model's.
- ``prepare``: called with the options before a run, it raises an OptionsError where the metric could not be taken.
- ``lower_is_better``: the lowest value is the best.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY, Registry

from dinoir_plugin.core.construct import registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import size_text

ImageArray = np.ndarray[Any, np.dtype[Any]]
Pair = Mapping[str, ImageArray]
Metric = TypeVar('Metric', bound=Callable[..., Any])

SET_METRIC_REGISTRY: Any = Registry('set metric')
NOT_ARGUMENTS = ('type', 'better')
_IN_TURN = threading.Lock()
# what BasicSR's own do not say of themselves
LOWER_IS_BETTER = ('calculate_niqe',)
HIGHER_IS_BETTER = ('calculate_psnr', 'calculate_ssim', 'calculate_psnr_all_in_one', 'calculate_ssim_all_in_one')
# functions of two arrays and nothing else, which threads may call side by side
SIDE_BY_SIDE = (*LOWER_IS_BETTER, *HIGHER_IS_BETTER)
NEEDS = {
    'calculate_niqe': 'NIQE needs an image with texture, of at least two blocks of 96x96 pixels',
    'calculate_ssim': 'SSIM needs at least 11x11 pixels inside of crop_border',
}


class SetMetric(Protocol):
    """Judge all images of a task together. Ranks look at different images, and the first one judges."""

    def keep(self, img: ImageArray, img2: ImageArray) -> Any:
        """Take what counts of one image, restored and target, (H, W, 3), BGR, uint8; picklable."""

    def of(self, kept: Sequence[Any]) -> float:
        """Give the figure of what was kept of a task's images, in the data set's order."""


def described(**facts: Any) -> Callable[[Metric], Metric]:
    """Decorate a metric with what is known of it, as this module's documentation has it."""

    def describe(metric: Metric) -> Metric:
        vars(metric).update(facts)
        return metric

    return describe


def find_metric(options: Mapping[str, Any], path: str) -> Any:
    """Give the registered function that ``options['type']`` names, of an image or of a set.

    Raises:
        OptionsError: Nothing goes by that name (path ``<path>.type``).
    """
    return registered(dict([*SET_METRIC_REGISTRY, *METRIC_REGISTRY]), options, path)


def needs_target(kind: Any) -> bool:
    """Tell whether a metric compares with a target, as those of sets do."""
    if _is_of_sets(kind):
        return True
    target = inspect.signature(kind).parameters.get('img2')
    return target is not None and target.default is target.empty


def comparing(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Choose the metrics that compare an image with its target, those of sets aside; argument as :class:`Measures`."""
    kinds = {name: find_metric(options, f'val.metrics.{name}') for name, options in metrics.items()}
    return {name: metrics[name] for name, kind in kinds.items() if needs_target(kind) and not _is_of_sets(kind)}


class Measures:
    """Take all metrics of a validation.

    Several threads may measure images. But for the well-known metrics of arrays, these take turns: networks are built
    when they are first asked for.

    Args:
        metrics: Name to options, as under ``val.metrics``.
        device: The model's.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], device: torch.device) -> None:
        self.names = list(metrics)
        self._kinds = {name: find_metric(options, f'val.metrics.{name}') for name, options in metrics.items()}
        self._arguments = {name: arguments(options) for name, options in metrics.items()}
        for name, kind in self._kinds.items():
            if getattr(kind, 'takes_device', False):
                self._arguments[name]['device'] = device
        self._sets: dict[str, SetMetric] = {
            name: kind(**self._arguments[name])
            for name, kind in self._kinds.items()
            if _is_of_sets(kind)
        }

    def of_image(self, image: str, images: Pair, floats: Pair) -> tuple[dict[str, float], dict[str, Any]]:
        """Measure one image.

        Args:
            image: Its name, for errors.
            images: Restored (``img``) and, where known, target (``img2``), (H, W, 3), BGR, uint8.
            floats: The same in RGB, float32 in [0, 1].

        Returns:
            The values of metrics of images, and what metrics of sets keep; without a target, of those alone that need
            none.

        Raises:
            OptionsError: A metric cannot take this image.
        """
        values, kept = {}, {}
        for name, kind in self._kinds.items():
            if 'img2' not in images and needs_target(kind):
                continue
            try:
                with nullcontext() if kind.__name__ in SIDE_BY_SIDE else _IN_TURN:
                    if name in self._sets:
                        kept[name] = self._sets[name].keep(**images)
                    else:
                        pair = floats if getattr(kind, 'takes_floats', False) else images
                        values[name] = float(kind(**pair, **self._arguments[name]))
                if math.isnan(values.get(name, 0.0)):
                    raise ValueError('the result is not a number')
            # whatever a metric raises, the user wants to know at which image
            except Exception as error:
                size = size_text(images['img'].shape)
                problem = f'cannot measure {image}, {size} pixels ({type(error).__name__}: {error})'
                raise OptionsError(f'val.metrics.{name}', problem, NEEDS.get(kind.__name__, '')) from error
        return values, kept

    def of_task(self, values: Sequence[Mapping[str, float]], kept: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Give the figures of a task from those of its images, which :meth:`of_image` gave: means, and the sets'.

        A metric that was not taken of every image has none.

        Args:
            values: Of each image.
            kept: Of each image, in the same order.
        """
        return {
            name: self._sets[name].of([entry[name] for entry in kept])
            if name in self._sets
            else sum(entry[name] for entry in values) / len(values)
            for name in self.names
            if all(name in one or name in other for one, other in zip(values, kept))
        }


def _is_of_sets(kind: Any) -> bool:
    return any(kind is metric for _, metric in SET_METRIC_REGISTRY)


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give what of a metric's options is handed to it."""
    return {key: value for key, value in options.items() if key not in NOT_ARGUMENTS}


def better_value(kind: Any) -> str | None:
    """Tell which value of a registered metric is the better one, higher or lower; None where nobody knows."""
    if kind.__name__ in LOWER_IS_BETTER or getattr(kind, 'lower_is_better', False):
        return 'lower'
    return 'higher' if kind.__name__ in HIGHER_IS_BETTER else None
