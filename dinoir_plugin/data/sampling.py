"""Which task and image sample number g of a run is, and how samples are dealt out to iterations and ranks.

A run is one endless row of samples g = 0, 1, 2, ... Everything about a sample follows from the run's seed and g, so
neither the number of workers nor the place where a run was interrupted can change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import NamedTuple

import numpy as np
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import Sampler

from dinoir_plugin.core.errors import OptionsError

LONGEST_CYCLE = 1000

# First words of the entropy: they keep the three kinds of draws apart whatever numbers follow.
_SAMPLE, _ORDER, _FILE = 1, 2, 3


def sample_rng(seed: int, number: int) -> np.random.Generator:
    """Give the random numbers of training sample ``number``."""
    return np.random.default_rng(np.random.SeedSequence([seed, _SAMPLE, number]))


def file_rng(seed: int, name: str) -> np.random.Generator:
    """Give the random numbers of an image in validation; ``name`` is its file name without folder and extension."""
    return np.random.default_rng(np.random.SeedSequence([seed, _FILE, _digest(name)]))


@lru_cache(maxsize=64)
def shuffled_order(seed: int, task: str, turn: int, count: int) -> np.ndarray:
    """Give the order of a task's ``count`` images in its pass number ``turn``; do not change it in place.

    Cached because a pass asks for one entry at a time.
    """
    entropy = np.random.SeedSequence([seed, _ORDER, _digest(task), turn])
    return np.random.default_rng(entropy).permutation(count)


def _digest(text: str) -> int:
    # Python's own hash() of a text differs from process to process.
    return int.from_bytes(hashlib.blake2b(text.encode(errors='surrogateescape'), digest_size=8).digest(), 'big')


class Draw(NamedTuple):
    """Hold what the batch sampler asks the data set for.

    Attributes:
        number: The sample's number in the run, from 0.
        gt_size: Side of the patch in pixels.
    """

    number: int
    gt_size: int


class TaskCycle:
    """Repeat a fixed row of tasks, each task in it as often as its weight says and as evenly as can be.

    At every place stands the task that is furthest behind its share; ties go to the task named first. Counts over any
    1,000 samples in a row are within 1 of the exact shares.

    Args:
        weights: Shares of the tasks, above 0, in any unit.

    Attributes:
        row: Task numbers; it repeats.
        shares: What part of the row each task has.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        shares = [Fraction(str(weight)) for weight in weights]
        shares = [share / sum(shares) for share in shares]
        self.row = _exact_row(shares) or _smooth_row(_apportion(shares, LONGEST_CYCLE))
        self.places: list[list[int]] = [[] for _ in weights]
        self._earlier: list[int] = []
        for place, task in enumerate(self.row):
            self._earlier.append(len(self.places[task]))
            self.places[task].append(place)
        self.shares = [len(places) / len(self.row) for places in self.places]

    def locate(self, number: int) -> tuple[int, int]:
        """Give the task of sample ``number`` and how many samples that task had before it."""
        cycle, place = divmod(number, len(self.row))
        task = self.row[place]
        return task, cycle * len(self.places[task]) + self._earlier[place]

    def epoch_length(self, counts: Sequence[int]) -> int:
        """Count the samples from 0 until every task has had ``counts[task]`` of them."""
        ends = []
        for places, count in zip(self.places, counts, strict=True):
            cycles, rest = divmod(count - 1, len(places))
            ends.append(cycles * len(self.row) + places[rest] + 1)
        return max(ends)


def _exact_row(shares: Sequence[Fraction]) -> list[int] | None:
    """Make a row with exactly these shares, None where it is too long or too uneven for the promise of `TaskCycle`."""
    length = lcm(*(share.denominator for share in shares))
    if length > LONGEST_CYCLE:
        return None
    row = _smooth_row([int(share * length) for share in shares])
    rest = LONGEST_CYCLE % length
    twice = np.array(row + row)
    for task, share in enumerate(shares):
        before = np.concatenate([[0], np.cumsum(twice == task)])
        windows = before[rest:rest + length] - before[:length]
        if np.abs(windows - float(share * rest)).max() > 1:
            return None
    return row


def _smooth_row(counts: Sequence[int]) -> list[int]:
    length = sum(counts)
    done = [0] * len(counts)
    row = []
    for place in range(1, length + 1):
        deficits = [place * count - length * had for count, had in zip(counts, done)]
        task = deficits.index(max(deficits))
        done[task] += 1
        row.append(task)
    return row


def _apportion(shares: Sequence[Fraction], total: int) -> list[int]:
    """Share ``total`` out in whole numbers, by largest remainder."""
    counts = [int(share * total) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda task: counts[task] - shares[task] * total)
    for task in by_remainder[:total - sum(counts)]:
        counts[task] += 1
    if not all(counts):
        raise OptionsError('tasks', f'one task has a share below 1 in {total} (weights as shares: '
                                    f'{", ".join(f"{float(share):.2g}" for share in shares)})',
                           'Raise its weight or leave the task out')
    return counts


class Stage(NamedTuple):
    """Describe a part of a run with one batch and patch size.

    Attributes:
        iters: Iterations; the last stage goes on for as long as the run does.
        batch: Samples of one rank in an iteration.
        gt_size: Side of the patches in pixels.
    """

    iters: int
    batch: int
    gt_size: int


class StageBatchSampler(Sampler[list[Draw]]):
    """Deal the samples of a run out to iterations and ranks.

    It takes epoch, rank and world size from BasicSR's sampler, but not its order: that one draws the
    same few numbers again in every epoch. An epoch is exactly the number of iterations that BasicSR's trainer reckons
    with, so its epochs cover the run's iterations; a loader with ``drop_last`` has one iteration less where the batch
    does not divide the epoch, and a run of BasicSR's own then ends early.

    Args:
        sampler: BasicSR's sampler of this rank, whose ``epoch`` the trainer sets.
        stages: The parts of the run, at least one.
        epoch_iters: Iterations in an epoch.
        batch_multiplier: How many stage batches go into one batch (GPUs under DataParallel).
        done: Iterations that a resumed run has behind it: its first epoch starts after them.
        done_samples: Samples that it has seen in them, with whatever batch and world size; it goes on after these.
            None: as many as these stages have.
        done_world: The world size that None is meant for; None: that of now.

    Attributes:
        done_samples: The number of samples before iteration ``done``.
    """

    def __init__(
        self,
        sampler: EnlargedSampler,
        stages: Sequence[Stage],
        epoch_iters: int,
        batch_multiplier: int = 1,
        done: int = 0,
        done_samples: int | None = None,
        done_world: int | None = None,
    ) -> None:
        self.sampler = sampler
        self.stages = tuple(stages)
        self.epoch_iters = epoch_iters
        self.batch_multiplier = batch_multiplier
        self.done = done
        if done_samples is None:
            done_samples = self._before(done, done_world or sampler.num_replicas)
        self.done_samples = done_samples
        self._shift = done_samples - self._before(done, sampler.num_replicas)

    def __len__(self) -> int:
        return self.epoch_iters

    def __iter__(self) -> Iterator[list[Draw]]:
        # The epoch is read now, not at the first batch: the trainer may move on before a prefetched one is used up.
        first = self.sampler.epoch * self.epoch_iters
        return (self.batch(iteration) for iteration in range(max(first, self.done), first + self.epoch_iters))

    def batch(self, iteration: int) -> list[Draw]:
        """Give what this rank draws in an iteration of the run, counted from 0."""
        world, rank = self.sampler.num_replicas, self.sampler.rank
        stage = self.stages[self._place(iteration)[0]]
        # Ranks take turns: two ranks with batch b see together what one rank with batch 2b sees.
        start = self._before(iteration, world) + self._shift + rank
        return [Draw(start + place * world, stage.gt_size) for place in range(stage.batch * self.batch_multiplier)]

    def _place(self, iteration: int) -> tuple[int, int]:
        """Give the number of the stage of an iteration, and how many iterations of it come before."""
        last = len(self.stages) - 1
        for number, stage in enumerate(self.stages[:last]):
            if iteration < stage.iters:
                return number, iteration
            iteration -= stage.iters
        return last, iteration

    def _before(self, iteration: int, world: int) -> int:
        """Count the samples of all ranks before an iteration, in a run of these stages and that world size."""
        number, iterations = self._place(iteration)
        samples = sum(stage.iters * stage.batch for stage in self.stages[:number])
        return (samples + iterations * self.stages[number].batch) * self.batch_multiplier * world
