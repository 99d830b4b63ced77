"""Figures of the degraded pictures themselves: what a network has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from basicsr.utils import tensor2img

from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.metrics.measures import Measures
from dinoir_plugin.models import results
from dinoir_plugin.models.validation import Measured
from scripts.paper.runs import not_measured, remember, result_file, say
from scripts.paper.variants import METRICS, TEST_SEED

LABEL = 'degraded'


def folder_name(budget: str) -> str:
    """Of the figures in ``results/``."""
    return f'{budget}_{LABEL}'


def measure(budget: str, tests: dict[str, Any]) -> None:
    """Compare the inputs of tests with their targets, where that has not been done yet.

    Args:
        budget: Its name.
        tests: Name of each test to its tasks.
    """
    for test, tasks in not_measured(folder_name(budget), tests).items():
        say(f'measuring the degraded pictures of {test}')
        measures = Measures(METRICS, torch.device('cpu'))
        dataset = MixedDegradationDataset(
            {'name': test, 'type': 'MixedDegradationDataset', 'phase': 'test', 'seed': TEST_SEED, 'tasks': tasks}
        )
        pictures = [_measured(number, dataset[number], measures) for number in range(len(dataset))]
        means = {
            task: measures.of_task([picture.values for picture in pictures if picture.task == task], [])
            for task in dict.fromkeys(picture.task for picture in pictures)
        }
        folder = result_file(folder_name(budget), test).parent
        folder.mkdir(parents=True, exist_ok=True)
        results.write(folder, test, folder.name, means, pictures)
        remember(folder.name, {test: tasks})


def _measured(number: int, item: dict[str, Any], measures: Measures) -> Measured:
    pair = [('img', item['lq']), ('img2', item['gt'])]
    images = {key: tensor2img(value) for key, value in pair}
    floats = {key: value.clamp(0, 1).permute(1, 2, 0).numpy() for key, value in pair}
    name = Path(item['lq_path']).name
    return Measured(number, item['task'], name, measures.of_picture(name, images, floats)[0])
