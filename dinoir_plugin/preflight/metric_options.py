"""What stands under ``val.metrics``, and whether the networks that some metrics take can be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from dinoir_plugin.construct import check_arguments, construct, registered
from dinoir_plugin.errors import OptionsError
from dinoir_plugin.metrics.measures import arguments, better_value


def check_metrics(metrics: Mapping[str, Any]) -> None:
    """Look at the options of all metrics; weights that are not there are downloaded now and not hours later.

    Args:
        metrics: Name to options, as under ``val.metrics``.

    Raises:
        OptionsError: A metric that is not registered, a key that it does not take, or one that could not be taken.
    """
    for name, options in metrics.items():
        path = f'val.metrics.{name}'
        if not isinstance(options, Mapping):
            raise OptionsError(path, f'expected a block of options, got {options!r}')
        kind = registered(METRIC_REGISTRY, options, path)
        given = arguments(options)
        # BasicSR's metrics take any keyword, and would leave a misspelt one without effect
        check_arguments(kind, path, given, swallows=False, img=None, img2=None, device=None)
        _check_better(options, path, better_value(kind))
        if hasattr(kind, 'prepare'):
            construct(kind.prepare, path, given)


def _check_better(options: Mapping[str, Any], path: str, known: str | None) -> None:
    """BasicSR takes any text but `higher` for `lower`, and the highest for the best where nothing is said."""
    better = options.get('better', 'higher')
    if better not in ('higher', 'lower'):
        raise OptionsError(f'{path}.better', f'expected higher or lower, got {better!r}')
    if known is not None and better != known:
        less_or_more = 'less' if known == 'lower' else 'more'
        raise OptionsError(
            f'{path}.better', f'{less_or_more} is better for {options["type"]}', f'Write better: {known}'
        )
