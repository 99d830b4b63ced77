"""The difference of two sides that were measured on the same images: how large it is, and what may be said of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from basicsr.utils.registry import METRIC_REGISTRY
from scipy.special import stdtrit

from dinoir_plugin.core.construct import find
from dinoir_plugin.experiments.table_rows import digits_of
from dinoir_plugin.metrics.measures import SET_METRIC_REGISTRY, better_value

CONFIDENCE = 0.95
MOST_DIGITS = 6


class Difference(NamedTuple):
    """Hold the means of two sides and what is known of their difference, second less first.

    Attributes:
        first: Mean of the first side.
        second: Mean of the second one.
        spread: Standard deviation of the differences: of images with one seed, else of seeds; None where there is one.
        margin: Half the width of the 95 % interval of their mean, by Student's t; None where there is no spread.
        images: How many were compared; 0 for a metric of a whole set.
        seeds: Pairs of trainings.
    """

    first: float
    second: float
    spread: float | None
    margin: float | None
    images: int
    seeds: int

    @property
    def mean(self) -> float:
        """Give the mean difference."""
        return self.second - self.first


def difference(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], images: int) -> Difference:
    """Compare the values of images, seed by seed.

    Args:
        pairs: Of each seed the values of the first side and those of the second, image by image; finite.
        images: How many these are; 0 where a value stands for a whole set.
    """
    first, second = (statistics.fmean(statistics.fmean(pair[side]) for pair in pairs) for side in (0, 1))
    by_seed = [[theirs - ours for ours, theirs in zip(*pair)] for pair in pairs]
    samples = by_seed[0] if len(pairs) == 1 else [statistics.fmean(values) for values in by_seed]
    if len(samples) < 2:
        return Difference(first, second, None, None, images, len(pairs))
    spread = statistics.stdev(samples)
    factor = float(stdtrit(len(samples) - 1, (1 + CONFIDENCE) / 2))
    return Difference(first, second, spread, factor * spread / math.sqrt(len(samples)), images, len(pairs))


def statement(found: Difference, metric: str, name: str, options: Mapping[str, Any]) -> str:
    """Say in words what a difference shows.

    Args:
        found: The difference.
        metric: Its column.
        name: What the second side is called.
        options: The metric's, as far as they are known.
    """
    of = f' on {found.images} images' if found.images else ''
    if found.seeds > 1:
        of = f' over {found.seeds} seeds{of}'
    if found.margin is None:
        why = 'one image' if found.images else 'one figure of all images'
        return f'{found.mean:+.{digits(metric)}f}{_unit(metric)}, of which nothing can be said: {why}, one seed'
    if found.mean == 0 and found.spread == 0:
        return f'the same{of}'
    places = digits(metric, found.margin)
    if abs(found.mean) <= found.margin:
        shown = f'{found.seeds} seeds' if found.seeds > 1 else f'{found.images} images'
        margin = f'{found.mean:+.{places}f} ± {found.margin:.{places}f}{_unit(metric)}'
        return f'no difference that {shown} could show: {margin}{_one_seed(found)}'
    better = better_side(metric, options)
    word = ('higher' if found.mean > 0 else 'lower') if better is None else 'better'
    if better is not None and (found.mean > 0) != (better == 'higher'):
        word = 'worse'
    size = f'{abs(found.mean):.{places}f} ± {found.margin:.{places}f}{_unit(metric)}'
    return f'{name} is {word} by {size}{of}{_one_seed(found)}'


def better_side(metric: str, options: Mapping[str, Any]) -> str | None:
    """Tell whether higher or lower values are better, by a metric's options or its column's name; None: not known."""
    if options.get('better') in ('higher', 'lower'):
        return str(options['better'])
    kinds = dict([*SET_METRIC_REGISTRY, *METRIC_REGISTRY])
    names = (options.get('type'), f'calculate_{metric}', f'calculate_{metric.split("_")[0]}')
    known = [kind for kind in (find(kinds, name) for name in names) if kind is not None]
    return better_value(known[0]) if known else None


def digits(metric: str, margin: float | None = None) -> int:
    """Choose decimals: as in tables, and as many more as make the margin visible."""
    usual = digits_of(metric)
    if not margin:
        return usual
    return min(max(usual, -math.floor(math.log10(margin))), MOST_DIGITS)


def _unit(metric: str) -> str:
    return ' dB' if metric.startswith('psnr') else ''


def _one_seed(found: Difference) -> str:
    return ' (one seed each)' if found.seeds == 1 else ''
