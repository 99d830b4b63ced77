"""Whether the metrics of a validation can be taken of its images: have they targets, and are they large enough?"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY
from PIL import Image

from dinoir_plugin.core.construct import registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.metrics.measures import find_metric, needs_target
from dinoir_plugin.preflight.check_item import CheckItem
from dinoir_plugin.preflight.metric_options import LARGEST_TRIAL, try_metric
from dinoir_plugin.preflight.report import NotCheckedError

Size = tuple[int, int]


def measured_items(opt: Mapping[str, Any]) -> list[CheckItem]:
    """List the check of each data set whose figures are wanted."""
    metrics = (opt.get('val') or {}).get('metrics') or {}
    sets = {phase: options for phase, options in opt['datasets'].items() if phase.split('_')[0] != 'train'}
    if not metrics:
        return []
    return [
        CheckItem(f'datasets.{phase}: metrics', partial(_check_set, options, f'datasets.{phase}', metrics))
        for phase, options in sets.items()
    ]


def _check_set(options: Mapping[str, Any], path: str, metrics: Mapping[str, Any]) -> str:
    dataset = _opened(options, path)
    if len(dataset) == 0:
        return 'no images'
    sizes, has_target = _looked_at(dataset, path)
    without = [name for name, block in metrics.items() if needs_target(find_metric(block, f'val.metrics.{name}'))]
    taken = [name for name in metrics if has_target or name not in without]
    if not has_target and without:
        warnings.warn(
            f'{path}: its images have no targets, so there will be no {", ".join(without)} of it', stacklevel=2
        )
    # bounds of size are asked for at the least height, the least width and the least area
    least = {min(sizes, key=key) for key in (lambda s: s, lambda s: s[::-1], lambda s: (s[0] * s[1], s))}
    for height, width in sorted(least):
        for name in taken:
            size = min(height, LARGEST_TRIAL), min(width, LARGEST_TRIAL)
            try_metric(name, metrics[name], size, f'images of {path}', has_target)
    return f'{", ".join(taken) or "none"}, {"with" if has_target else "without"} targets'


def _opened(options: Mapping[str, Any], path: str) -> Any:
    kind = registered(DATASET_REGISTRY, options, path)
    try:
        return kind(deepcopy(dict(options)))
    except OptionsError as error:
        raise NotCheckedError('the data set cannot be opened') from error
    except Exception as error:  # whatever somebody else's data set raises, the run would meet it, too
        raise OptionsError(path, f'cannot be opened ({type(error).__name__}: {error})') from error


def _looked_at(dataset: Any, path: str) -> tuple[set[Size], bool]:
    """Give the sizes of a data set's images as far as they can be had quickly, and whether they have targets."""
    try:
        item = dataset[0]
    except Exception as error:  # as above
        raise OptionsError(path, f'its first image cannot be had ({type(error).__name__}: {error})') from error
    image = item['gt'] if 'gt' in item else item['lq']
    sizes = {(int(image.shape[-2]), int(image.shape[-1]))}
    if hasattr(dataset, 'sizes'):
        return sizes | dataset.sizes(), 'gt' in item
    # BasicSR's own keep the paths of their images, by themselves or as pairs
    for entry in getattr(dataset, 'paths', ()):
        file: Any = (entry.get('gt_path') or entry.get('lq_path')) if isinstance(entry, Mapping) else entry
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError), Image.open(file) as header:
            sizes.add((header.height, header.width))
    return sizes, 'gt' in item
