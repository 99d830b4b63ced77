"""Describe a metric in full: all of its arguments, and its convention in words."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from dinoir_plugin.metrics.measures import arguments, find_metric

KNOWN = ('basicsr.', 'dinoir_plugin.')  # what the arguments of others mean is not known
GIVEN = ('img', 'img2', 'device')  # by the validation
CHANNELS = {'y': 'Y', 'gray': 'gray'}  # values of `convert_to`


def in_full(options: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Give a metric's type, each argument that it takes, defaults included, and its convention.

    Args:
        options: Its block under ``val.metrics``.
        path: Of that block, for errors.

    Raises:
        OptionsError: Nothing is registered under that type.
    """
    kind = find_metric(options, path)
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is not parameter.empty and parameter.name not in GIVEN
    }
    taken = {**defaults, **arguments(options)}
    return {'type': options['type'], **taken, 'convention': _convention(kind, taken)}


def _convention(kind: Any, taken: Mapping[str, Any]) -> str:
    """Say of which channels and numbers a metric is taken, and what of the image it leaves out."""
    numbers = 'floats' if getattr(kind, 'takes_floats', False) else '8 bits'
    if not kind.__module__.startswith(KNOWN):
        return numbers
    words = ['Y' if taken.get('test_y_channel') else CHANNELS.get(taken.get('convert_to', ''), 'RGB'), numbers]
    if 'crop_border' in taken:
        words.append(f'crop border {taken["crop_border"]}')
    if taken.get('crop_multiple', 1) != 1:
        words.append(f'sides cropped to multiples of {taken["crop_multiple"]}')
    return ', '.join(words)
