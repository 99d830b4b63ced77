"""Look at what trainings need, images and weights of frozen networks, before the first of them takes days."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import nn

from dinoir_plugin.core.console import note
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.runs import Job
from dinoir_plugin.preflight.builds import build_network, check_dataset
from dinoir_plugin.preflight.loss_items import loss_items

# what an option's own remedy, a path in the options file, does not mend here: the options are the table's
CACHES = (
    'Weights that another machine has downloaded are found here, too, with its folders ~/.cache/huggingface and '
    '~/.cache/torch.'
)


def check(todo: Sequence[Job]) -> None:
    """Open the images of all trainings that are still to be made, then build their networks and losses.

    Pretrained weights that are not on this machine are downloaded. What needs a file that one of these trainings writes
    is left out, and so are the images of a run that prepares its own.

    Raises:
        RunError: Something cannot be had; the message has a line for each such thing, with the trainings that need it.
    """
    left = [job for job in todo if not job.trained]
    if left:
        note('looking at images, networks and weights of the trainings')
    _look([(job.name, *part) for job in left for part in _images(job)])
    later = [str(job.checkpoint.parent) for job in left if job.checkpoint]
    _look([(job.name, *part) for job in left for part in _networks(job, later)])


def _look(parts: Sequence[tuple[str, str, Callable[[], None]]]) -> None:
    """Look at parts of trainings: a training's name, what tells the part from others, and what looks at it."""
    lacking: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for name, key, look in parts:
        if key not in found:
            found[key] = _problem(look)
        if found[key]:
            lacking.setdefault(found[key], []).append(name)
    if lacking:
        lines = [f'{_together(names)} cannot be trained: {what}' for what, names in lacking.items()]
        raise RunError('\n'.join(lines + [CACHES] * any('.weights: ' in what for what in lacking)))


def _images(job: Job) -> Iterator[tuple[str, Callable[[], None]]]:
    for phase, options in job.training['datasets'].items():
        if not job.prepare:
            opt = {**options, 'phase': phase.partition('_')[0]}
            yield repr((phase, options)), partial(check_dataset, opt, f'datasets.{phase}')


def _networks(job: Job, later: Sequence[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give the network with its losses, without those whose options name a folder of ``later``."""
    network, train = job.training['network_g'], job.training['train']
    if not _names(network, later):
        known = {key: options for key, options in train.items() if not _names(options, later)}
        yield repr((network, known)), partial(_check_network, {**job.training, 'train': known})


def _check_network(training: dict[str, Any]) -> None:
    network: nn.Module = build_network(training)
    for item in loss_items(training, with_network=False):
        item.check()
    for item in loss_items(training, with_network=True):
        item.check(network)


def _together(names: Sequence[str]) -> str:
    first, *others = dict.fromkeys(names)
    return f'{first} and {len(others)} more' if others else first


def _problem(look: Callable[[], None]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the trainer gives them, in the run's log
        try:
            look()
        except OptionsError as error:
            return str(error)
    return ''


def _names(options: Any, folders: Sequence[str]) -> bool:
    return any(folder in repr(options) for folder in folders)
