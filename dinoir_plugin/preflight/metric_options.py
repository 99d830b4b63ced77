"""What stands under ``val.metrics``, and whether the networks that some metrics take can be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dinoir_plugin.core.construct import check_arguments, construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.metrics.measures import HIGHER_IS_BETTER, Measures, arguments, better_value, find_metric
from dinoir_plugin.models.results import COLUMNS, INPUT_COLUMN

OWN = ('basicsr.', 'dinoir_plugin.')  # all arguments of these metrics are known
LARGEST_TRIAL = 256  # side of a trial image in pixels


def check_metrics(metrics: Mapping[str, Any]) -> None:
    """Look at the options of all metrics; weights that are not there are downloaded now and not hours later.

    Args:
        metrics: Name to options, as under ``val.metrics``.

    Raises:
        OptionsError: A metric that is not registered, a key that it does not take, or one that could not be taken.
    """
    for name, options in metrics.items():
        path = f'val.metrics.{name}'
        if not isinstance(name, str) or name in COLUMNS:
            raise OptionsError(path, f'a metric gives a column its name: expected text other than {", ".join(COLUMNS)}')
        if name.startswith(INPUT_COLUMN) and name.removeprefix(INPUT_COLUMN) in metrics:
            problem = f'this column is for the {name.removeprefix(INPUT_COLUMN)} of the degraded images'
            raise OptionsError(path, problem, 'Give the metric another name')
        if not isinstance(options, Mapping):
            raise OptionsError(path, f'expected a block of options, got {options!r}')
        kind = find_metric(options, path)
        given = arguments(options)
        # BasicSR's metrics take any keyword, and would leave a misspelt one without effect
        swallows = not kind.__module__.startswith(OWN)
        check_arguments(kind, path, given, swallows=swallows, img=None, img2=None, device=None)
        _check_better(options, path, better_value(kind))
        if hasattr(kind, 'prepare'):
            construct(kind.prepare, path, given)
        if kind.__name__ in HIGHER_IS_BETTER:
            try_metric(name, options, (LARGEST_TRIAL, LARGEST_TRIAL), 'a trial image')


def try_metric(
    name: str, options: Mapping[str, Any], size: tuple[int, int], image: str, has_target: bool = True
) -> None:
    """Try whether a metric gives a number.

    Args:
        name: Of its column.
        options: Its block.
        size: Height and width of the image to try it with.
        image: What that image stands for, for errors.
        has_target: Whether it has a target.

    Raises:
        OptionsError: It gives none.
    """
    rng = np.random.default_rng(0)
    keys = ('img', 'img2') if has_target else ('img',)
    images = {key: rng.integers(0, 256, (*size, 3), np.uint8) for key in keys}
    floats = {key: image.astype(np.float32) / 255 for key, image in images.items()}
    Measures({name: options}, torch.device('cpu')).of_image(image, images, floats)


def _check_better(options: Mapping[str, Any], path: str, known: str | None) -> None:
    """Refuse a wrong direction; BasicSR takes any text but `higher` for `lower`."""
    better = options.get('better', known or 'higher')
    if better not in ('higher', 'lower'):
        raise OptionsError(f'{path}.better', f'expected higher or lower, got {better!r}')
    if known is not None and better != known:
        less_or_more = 'less' if known == 'lower' else 'more'
        raise OptionsError(
            f'{path}.better', f'{less_or_more} is better for {options["type"]}', f'Write better: {known}'
        )
