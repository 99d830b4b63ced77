"""Figures of the degraded images themselves: what a network has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from basicsr.utils import tensor2img

from dinoir_plugin.core.console import note
from dinoir_plugin.core.errors import under
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.experiments.measured import not_measured, record, recorded, result_file
from dinoir_plugin.experiments.variants import FIRST, TEST_SEED, Experiments
from dinoir_plugin.metrics.measures import Measures
from dinoir_plugin.models import results
from dinoir_plugin.models.validation import Measured

LABEL = 'degraded'


def folder_name(experiments: Experiments, budget: str) -> str:
    """Name the folder of the figures in ``results/``; other papers have other metrics."""
    return f'{budget}_{LABEL}' if experiments.paper == FIRST else f'{budget}_{experiments.paper}_{LABEL}'


def measure(experiments: Experiments, budget: str, tests: dict[str, Any]) -> None:
    """Compare the inputs of tests with their targets, where that has not been done yet.

    Args:
        experiments: Of the paper, whose metrics count.
        budget: Its name.
        tests: Name of each test to its tasks.
    """
    name = folder_name(experiments, budget)
    for test, tasks in not_measured(name, tests).items():
        note(f'measuring the degraded images of {test}')
        measures = Measures(experiments.metrics_of(budget), torch.device('cpu'))
        dataset = _dataset(test, tasks)
        images = [_measured(number, dataset[number], measures) for number in range(len(dataset))]
        means = {
            task: measures.of_task([image.values for image in images if image.task == task], [])
            for task in dict.fromkeys(image.task for image in images)
        }
        folder = result_file(name, test).parent
        folder.mkdir(parents=True, exist_ok=True)
        results.write(folder, test, folder.name, results.Figures(means), images)
        record(folder.name, {**recorded(folder.name), test: tasks})


def check(tests: dict[str, Any]) -> None:
    """Look at the headers of the images of tests, before networks are trained for days.

    Raises:
        OptionsError: There are none, or some that cannot be used.
    """
    for test, tasks in tests.items():
        with under(f'datasets.test_{test}'):
            _dataset(test, tasks).check_images()


def _dataset(test: str, tasks: dict[str, Any]) -> MixedDegradationDataset:
    options = {'name': test, 'type': 'MixedDegradationDataset', 'phase': 'test', 'seed': TEST_SEED, 'tasks': tasks}
    return MixedDegradationDataset(options)


def _measured(number: int, item: dict[str, Any], measures: Measures) -> Measured:
    pair = [('img', item['lq']), ('img2', item['gt'])]
    images = {key: tensor2img(value) for key, value in pair}
    floats = {key: value.clamp(0, 1).permute(1, 2, 0).numpy() for key, value in pair}
    name = Path(item['lq_path']).name
    return Measured(number, item['task'], name, measures.of_image(name, images, floats)[0])
