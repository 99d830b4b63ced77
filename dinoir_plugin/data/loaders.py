"""Training loaders that say what a dead worker means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from basicsr.data.prefetch_dataloader import PrefetchDataLoader
from torch.utils.data import DataLoader

DEAD_WORKER = re.compile(r'DataLoader worker .*(killed by signal|exited unexpectedly)')


class LoaderError(RuntimeError):
    """A worker of a loader ended without a word."""


class TrainingLoader(DataLoader[Any]):
    """torch's loader; a worker that was killed ends the run with a message instead of torch's alone."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # the workers start here, not with the first batch
        return _naming_dead_workers(super().__iter__())


class PrefetchingTrainingLoader(PrefetchDataLoader, TrainingLoader):
    """The same, with BasicSR's ``prefetch_mode: cpu``: a thread that asks for batches ahead of the trainer."""


def _naming_dead_workers(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except RuntimeError as error:
        if not DEAD_WORKER.search(str(error)):
            raise
        raise LoaderError(
            f'A process that loads training pictures died ({str(error).strip()}). Mostly the machine was out of '
            'memory: lower num_worker_per_gpu or gt_size, or look into the system log. --auto_resume goes on from the '
            'last checkpoint.'
        ) from error
