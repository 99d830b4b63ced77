"""Shares of the tasks by weight, by images and by the literature's repeat factors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.sampling import TaskCycle


def test_proportional_sampling_follows_images_and_repeats(options):
    tasks = options()['tasks']
    tasks['derain']['repeat'] = 4
    tasks['denoise']['weight'] = 2
    dataset = MixedDegradationDataset(options(tasks=tasks, sampling='proportional'))
    # images: 5 (weight 2), 5, 3 (repeat 4), 6
    expected = dict(zip(tasks, np.array([10, 5, 12, 6]) / 33))
    drawn = Counter(dataset[number]['task'] for number in range(100, 1100))
    for task, share in expected.items():
        assert abs(drawn[task] - 1000 * share) <= 1
    summary = dataset.summary().splitlines()
    assert [line.split()[0] for line in summary] == ['task', *tasks]
    assert summary[3].split()[1:3] == ['3', f'{12 / 33:.1%}']


def test_an_epoch_shows_every_image_as_often_as_its_repeat_says(options):
    tasks = options()['tasks']
    tasks['derain']['repeat'] = 4
    dataset = MixedDegradationDataset(options(tasks=tasks, sampling='proportional'))
    assert len(dataset) == 5 + 5 + 12 + 6
    seen = Counter((item['task'], item['lq_path']) for item in dataset)
    assert {count for (task, _), count in seen.items() if task == 'derain'} == {4}
    assert {count for (task, _), count in seen.items() if task != 'derain'} == {1}


def test_a_repeat_without_effect_is_refused(options):
    tasks = options()['tasks']
    tasks['derain']['repeat'] = 4
    with pytest.raises(OptionsError, match=r'tasks\.derain\.repeat: this option has no effect without sampling'):
        MixedDegradationDataset(options(tasks=tasks))
    with pytest.raises(OptionsError, match="did you mean 'proportional'"):
        MixedDegradationDataset(options(sampling='proportionate'))


@pytest.mark.parametrize(('weights', 'length'), [([2, 1], 3), ([0.5, 1, 1], 5), ([7, 3], 10), ([6, 1], 7)])
def test_shares_that_a_short_row_holds_are_exact(weights, length):
    cycle = TaskCycle(weights)
    assert len(cycle.row) == length
    assert cycle.shares == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-12)
