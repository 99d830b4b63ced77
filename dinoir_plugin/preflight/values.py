"""From what an options file says to what a run gets: every number, word and name as the value that is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from dinoir_plugin.core.construct import find, values_for
from dinoir_plugin.core.options import as_values, fields_of
from dinoir_plugin.core.written import plain
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.options import DatasetOptions, LoaderOptions
from dinoir_plugin.metrics.measures import NOT_ARGUMENTS, SET_METRIC_REGISTRY
from dinoir_plugin.models.options import RunOptions, loss_blocks
from dinoir_plugin.models.restoration_model import RestorationModel


def run_values(written: Mapping[str, Any], is_train: bool) -> dict[str, Any]:
    """Turn all of an options file into values, in the file's own form; what has a fault stays as it is.

    BasicSR hands blocks of options to its classes as they stand, so what a class takes is asked for here.

    Args:
        written: The file's content, as :func:`~dinoir_plugin.core.yaml_options.read_options` gives it.
        is_train: Whether it is for train.py or for test.py.
    """
    kind = find(MODEL_REGISTRY, written.get('model_type'))
    ours = isinstance(kind, type) and issubclass(kind, RestorationModel)
    phase = 'train' if is_train else 'test'
    declares = getattr(kind, 'declares', RunOptions)
    values: dict[str, Any] = as_values(declares, written, phase) if ours else plain(written)
    for registry, block in _built_by_the_host(values):
        arguments = {key: value for key, value in block.items() if key not in NOT_ARGUMENTS}
        built = find(registry, block.get('type'))
        if built is not None:
            block.update(values_for(built, arguments))
    for block in _blocks(values.get('datasets')):
        block.update(_of_dataset(block))
    return values


def _built_by_the_host(values: Mapping[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Give registries and the blocks that name a class of theirs."""
    networks = {key: value for key, value in values.items() if key.startswith('network_')}
    yield from ((ARCH_REGISTRY, block) for block in _blocks(networks))
    train, val = values.get('train'), values.get('val')
    losses = {path: block for path, block in loss_blocks(train).values()} if isinstance(train, dict) else None
    yield from ((LOSS_REGISTRY, block) for block in _blocks(losses))
    metrics = dict([*SET_METRIC_REGISTRY, *METRIC_REGISTRY])
    yield from ((metrics, block) for block in _blocks(val.get('metrics') if isinstance(val, dict) else None))


def _blocks(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value.values() if isinstance(entry, dict)] if isinstance(value, dict) else []


def _of_dataset(block: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options of a data set as values: all of ours, and of others what BasicSR's loaders read."""
    kind = find(DATASET_REGISTRY, block.get('type'))
    if isinstance(kind, type) and issubclass(kind, MixedDegradationDataset):
        found: dict[str, Any] = as_values(DatasetOptions, block)
        return found
    known = fields_of(LoaderOptions)
    return dict(as_values(LoaderOptions, {key: value for key, value in block.items() if key in known}))
