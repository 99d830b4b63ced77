"""Are quality prompts good enough to teach by? What is asked of them on images that they did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile

ACCURACY, ALL_CORRECT, IN_ORDER = 'accuracy', 'all_correct', 'in_order'
FIGURES = (ACCURACY, ALL_CORRECT, IN_ORDER)
PASSED, REPORT = 'passed', 'acceptance'
RELEASED_ITERATIONS = 100_000


class Bound(NamedTuple):
    """Hold the least that a figure has to be, as a mean of the tasks' and in the worst one of them."""

    mean: float
    worst: float = 0.0


# what the authors' code suggests; the release measures it on test images
BOUNDS = {ACCURACY: Bound(0.85, 0.75), ALL_CORRECT: Bound(0.70), IN_ORDER: Bound(0.90, 0.80)}


def image_figures(logits: Tensor) -> dict[str, float]:
    """Judge the judgement of one image in its three qualities.

    Args:
        logits: Of the degraded, the half-restored and the clean one, (3, 3), each the mean over its crops.

    Returns:
        ``accuracy``, the share of the three that were told right; ``all_correct``, 1 where all were; ``in_order``, 1
        where their scores, the expected places of their quality, rise.
    """
    chances = logits.double().softmax(dim=-1)
    places = torch.arange(3, device=logits.device)
    right = chances.argmax(dim=-1) == places
    score = chances @ places.double()
    return {
        ACCURACY: float(right.double().mean()),
        ALL_CORRECT: float(right.all()),
        IN_ORDER: float((score[0] < score[1]) & (score[1] < score[2])),
    }


def shortfalls(means: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say in which figures prompts fall short of what is asked.

    Args:
        means: By task, without an average, the mean of each figure.
    """
    found = []
    for figure, bound in BOUNDS.items():
        values = {task: row[figure] for task, row in means.items()}
        mean, worst = sum(values.values()) / len(values), min(values, key=lambda task: values[task])
        if mean < bound.mean:
            found.append(f'{figure} {mean:.2f}, below {bound.mean:.2f}')
        if values[worst] < bound.worst:
            found.append(f'{figure} of {worst} {values[worst]:.2f}, below {bound.worst:.2f}')
    return found


def acceptance(means: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Give what a file of prompts says of them; arguments as :func:`shortfalls`."""
    problems = shortfalls(means)
    return {PASSED: not problems, 'problems': problems, 'means': {task: dict(row) for task, row in means.items()}}


def check_accepted(file: PromptFile, path: str, option: str = 'prompts', gate: str = 'gate') -> None:
    """Refuse prompts that were found wanting, or of which nothing is known.

    Those without a report, as the authors', count when they were trained as theirs are: 100,000 iterations, balanced
    over tasks.

    Args:
        file: What was read.
        path: Of the file.
        option: Which option names it.
        gate: Which option lets it pass all the same.

    Raises:
        OptionsError: They are not accepted.
    """
    remedy = f'Train them further, from images of which the medium ones are worse or better, or set {gate}: ignore'
    report = file.others.get(REPORT)
    if isinstance(report, Mapping):
        if not report.get(PASSED):
            problem = f"the prompts in '{path}' tell quality not well enough: {'; '.join(report.get('problems') or ())}"
            raise OptionsError(option, problem, remedy)
    elif file.iteration < RELEASED_ITERATIONS or not file.task_balanced:
        balanced = 'balanced' if file.task_balanced else 'not balanced'
        problem = (f"expected prompts that were accepted, but '{path}' has no report, and they were trained for "
                   f'{file.iteration} iterations, {balanced} over tasks')  # fmt: skip
        raise OptionsError(option, problem, f'Train them with a validation set, or set {gate}: ignore')
