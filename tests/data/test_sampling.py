"""Shares, order and batches; everything here works without images."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.sampling import (
    Draw,
    Stage,
    StageBatchSampler,
    TaskCycle,
    file_rng,
    sample_rng,
    shuffled_order,
)

WEIGHTS = [
    [1],
    [1, 1, 1],
    [1, 1, 1, 1],
    [2, 1, 1],
    [0.5, 0.3, 0.2],
    [7, 2, 1, 1],
    [1, 10, 3, 0.37],
    [math.pi, math.e, 1.41421, 1],
    [997, 1, 1],
    [3, 5, 7, 11, 13, 17],
]


@pytest.mark.parametrize('weights', WEIGHTS, ids=str)
def test_counts_over_any_thousand_samples_are_within_one_of_the_shares(weights):
    cycle = TaskCycle(weights)
    assert len(cycle.row) <= 1000
    tasks = np.array([cycle.locate(number)[0] for number in range(4000)])
    for task, weight in enumerate(weights):
        before = np.concatenate([[0], np.cumsum(tasks == task)])
        counts = before[1000:] - before[:-1000]
        exact = 1000 * Fraction(str(weight)) / sum(Fraction(str(other)) for other in weights)
        assert np.abs(counts - float(exact)).max() <= 1


@pytest.mark.parametrize('weights', WEIGHTS, ids=str)
def test_closed_form_of_the_draw_is_the_running_count(weights):
    cycle = TaskCycle(weights)
    seen = Counter()
    for number in range(2500):
        task, draw = cycle.locate(number)
        assert draw == seen[task]
        seen[task] += 1


def test_equal_weights_take_turns():
    assert TaskCycle([3, 3, 3]).row == [0, 1, 2]


@pytest.mark.parametrize(('weights', 'counts'), [([1, 1], [3, 3]), ([1, 1], [3, 5]), ([2, 1, 1], [5, 1, 3]),
                                                 ([1, 9], [4, 2])])
def test_epoch_is_the_shortest_run_that_shows_every_image(weights, counts):
    cycle = TaskCycle(weights)
    length = cycle.epoch_length(counts)

    def complete(run):
        seen = Counter(cycle.locate(number)[0] for number in range(run))
        return all(seen[task] >= count for task, count in enumerate(counts))

    assert complete(length)
    assert not complete(length - 1)


def test_a_share_too_small_for_the_cycle_is_refused():
    with pytest.raises(OptionsError, match='share below 1 in 1000'):
        TaskCycle([1, 1e-6])


def test_order_is_a_permutation_that_changes_with_pass_task_and_seed():
    first = shuffled_order(0, 'derain', 0, 50)
    assert sorted(first) == list(range(50))
    for seed, task, turn in ((0, 'derain', 1), (0, 'dehaze', 0), (1, 'derain', 0)):
        other = shuffled_order(seed, task, turn, 50)
        assert sorted(other) == list(range(50))
        assert not np.array_equal(first, other)


def test_random_numbers_of_samples_and_files_are_apart():
    draws = {rng.integers(2**63) for rng in [sample_rng(0, 0), sample_rng(0, 1), sample_rng(1, 0), sample_rng(0, 2**40),
                                             file_rng(0, 'a'), file_rng(0, 'b'), file_rng(1, 'a')]}
    assert len(draws) == 7


def ranked(rank, world, stages, epoch_iters=10, multiplier=1):
    return StageBatchSampler(SimpleNamespace(num_replicas=world, rank=rank, epoch=0), stages, epoch_iters, multiplier)


def test_two_ranks_see_what_one_rank_with_twice_the_batch_sees():
    halves = [ranked(rank, 2, [Stage(7, 3, 32), Stage(5, 2, 48)]) for rank in (0, 1)]
    whole = ranked(0, 1, [Stage(7, 6, 32), Stage(5, 4, 48)])
    several = ranked(0, 1, [Stage(7, 3, 32), Stage(5, 2, 48)], multiplier=2)
    for iteration in range(30):
        union = sorted(halves[0].batch(iteration) + halves[1].batch(iteration))
        assert union == whole.batch(iteration) == several.batch(iteration)


def test_every_sample_comes_once_and_stages_switch_at_their_iteration():
    batches = ranked(0, 1, [Stage(4, 3, 32), Stage(2, 2, 48), Stage(1, 1, 64)])
    drawn = [batches.batch(iteration) for iteration in range(12)]
    assert [len(batch) for batch in drawn] == [3] * 4 + [2] * 2 + [1] * 6
    assert [batch[0].gt_size for batch in drawn] == [32] * 4 + [48] * 2 + [64] * 6
    assert [draw.number for batch in drawn for draw in batch] == list(range(3 * 4 + 2 * 2 + 6))


def test_epochs_follow_the_sampler_without_gap_or_overlap():
    batches = ranked(0, 1, [Stage(13, 3, 32), Stage(1, 2, 48)])
    drawn = []
    for epoch in range(3):
        batches.sampler.epoch = epoch
        epoch_batches = iter(batches)
        # A prefetched iterator keeps its epoch when the trainer moves on.
        batches.sampler.epoch = epoch + 1
        drawn.extend(epoch_batches)
        assert len(drawn) == len(batches) * (epoch + 1) == 10 * (epoch + 1)
    numbers = [draw.number for batch in drawn for draw in batch]
    assert numbers == list(range(13 * 3 + 17 * 2))
    assert isinstance(drawn[0][0], Draw)
