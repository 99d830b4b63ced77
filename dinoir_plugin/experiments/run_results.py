"""Read what validations and tests of runs wrote, ``metrics_<set>.json``, and group runs that belong together."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.imaging.formats import composed, split_name

SEED = re.compile(r'(?P<stem>.+)_seed(?P<seed>\d+)$')
NOT_METRICS = ('task', 'name')  # of an entry of an image

Values = Mapping[str, float]  # metric to value, infinite where equal images have no PSNR


class TaskResult(NamedTuple):
    """Hold the figures of a task of a set.

    Attributes:
        means: Of all images, those of metrics of a whole set (FID) among them.
        images: Name without ending to the values of each image of that name, in the data set's order.
    """

    means: Values
    images: Mapping[str, Sequence[Values]]


class SetResult(NamedTuple):
    """Hold what ``metrics_<set>.json`` says.

    Attributes:
        iteration: At which it was taken; in a test the run's name.
        tasks: Task to figures.
        options: Metric to its options, as far as the file says them.
    """

    iteration: int | str
    tasks: Mapping[str, TaskResult]
    options: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RunResults:
    """Hold what is in one run's folder.

    Attributes:
        folder: The run's, in ``experiments/`` or ``results/``.
        sets: Name of each set to what was measured.
    """

    folder: Path
    sets: Mapping[str, SetResult]

    @property
    def seed(self) -> int | None:
        """Give the number behind ``_seed`` at the end of the folder's name, where there is one."""
        found = SEED.match(self.folder.name)
        return int(found['seed']) if found else None


@dataclass
class Group:
    """Hold runs that differ by their seed only; a single run is a group as well.

    Attributes:
        name: What they are called.
        runs: At least one.
    """

    name: str
    runs: list[RunResults] = field(default_factory=list)


def read_run(folder: Path) -> RunResults:
    """Read all figures of a run.

    Raises:
        RunError: There is no such folder, it has no figures, or a file cannot be understood.
    """
    if not folder.is_dir():
        raise RunError(f'{folder}: there is no such folder; give that of a run, in experiments/ or results/')
    files = sorted(folder.glob('metrics_*.json'))
    if not files:
        raise RunError(f'{folder}: expected metrics_<set>.json of a validation or test, but there is none. '
                       'Has the run reached its first validation (val.val_freq), and has it val.metrics?')  # fmt: skip
    return RunResults(folder, {path.stem.removeprefix('metrics_'): _read_set(path) for path in files})


def grouped(runs: Iterable[RunResults]) -> list[Group]:
    """Put runs whose folders' names differ by ``_seed<number>`` at the end together; groups in the runs' order."""
    groups: dict[Path, Group] = {}
    for run in runs:
        found = SEED.match(run.folder.name)
        key = run.folder.with_name(found['stem']) if found else run.folder
        groups.setdefault(key, Group(str(key))).runs.append(run)
    for group in groups.values():
        if len(group.runs) == 1:
            group.name = str(group.runs[0].folder)
    return list(groups.values())


def paired_runs(first: Group, other: Group) -> tuple[list[tuple[RunResults, RunResults]], str]:
    """Pair the runs of two groups: those of one seed, or, where no seed is in both, in their order.

    Returns:
        The pairs, and a remark on what was left out or how they were paired; empty where there is nothing to say.

    Raises:
        RunError: No seed is in both, and the groups are of different size.
    """
    seeds, others = ({run.seed: run for run in group.runs if run.seed is not None} for group in (first, other))
    common = [seed for seed in seeds if seed in others]
    if common:
        left_out = len(first.runs) + len(other.runs) - 2 * len(common)
        remark = f'Left out, as the other side has none of their seed: {left_out} of the runs.' if left_out else ''
        return [(seeds[seed], others[seed]) for seed in common], remark
    if len(first.runs) != len(other.runs):
        raise RunError(f'{first.name} has {len(first.runs)} runs and {other.name} {len(other.runs)}, and no two of one '
                       'seed: give as many of both, or name them ..._seed0, ..._seed1')  # fmt: skip
    unlike = any(ours.seed != theirs.seed for ours, theirs in zip(first.runs, other.runs))
    return list(zip(first.runs, other.runs)), 'The seeds differ: runs are paired in their order.' if unlike else ''


def _read_set(path: Path) -> SetResult:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        images: dict[str, dict[str, list[Values]]] = {task: {} for task in content['means']}
        for entry in content['images']:
            task = images[entry['task'] or next(iter(images))]
            task.setdefault(composed(split_name(entry['name'])[0]), []).append(_numbers(entry))
        tasks = {
            task: TaskResult(_numbers(content['means'][task]), found)
            for task, found in images.items() if found
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise RunError(f'{path}: expected the figures of a validation (means and images), but it cannot be read '
                       f'({type(error).__name__}: {error}). Measure again') from error  # fmt: skip
    about = content.get('about')
    options = about.get('metrics') if isinstance(about, dict) else None
    return SetResult(content.get('iteration', ''), tasks, options if isinstance(options, dict) else {})


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    """Take the metrics; None stands for the infinite PSNR of equal images."""
    values = {key: value for key, value in entry.items() if key not in NOT_METRICS}
    numbers = {key: value for key, value in values.items() if value is None or isinstance(value, (int, float))}
    return {key: math.inf if value is None else float(value) for key, value in numbers.items()}
