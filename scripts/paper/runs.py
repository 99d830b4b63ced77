"""Training and measuring what a table needs, with BasicSR's own programs. What is there already is not done again."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.paper.variants import (
    ROOT,
    Experiments,
    as_yaml,
    filled,
    folder_name,
    read_yaml,
    test_options,
    training_options,
)

FOLDER = Path('experiments/reproduce')  # options files, reports and figures


class RunError(Exception):
    """A run that cannot be done or went wrong; the text is for people."""


class Job(NamedTuple):
    """One training and its measurement.

    Attributes:
        run: Its name in ``experiments.yml``.
        seed: Of initial weights, patches and degradations.
        name: Its folder in ``experiments/`` and ``results/``.
        training: Options for the trainer.
        tests: Name of each test to its tasks.
    """

    run: str
    seed: int
    name: str
    training: dict[str, Any]
    tests: dict[str, Any]


class Figure(NamedTuple):
    """Mean over seeds, and the standard deviation where there are several."""

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """From the values of each seed, at least one."""
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def jobs(experiments: Experiments, table: str, budget: str, seeds: int, data: str | None) -> list[Job]:
    """What a table needs, seed by seed."""
    return list(_jobs(experiments, table, budget, seeds, data))


def _jobs(experiments: Experiments, table: str, budget: str, seeds: int, data: str | None) -> Iterator[Job]:
    size = experiments.budgets[budget]
    wanted = [test for test in experiments.tables[table]['tests'] if test in size['tests']]
    for seed in range(seeds):
        for run in dict.fromkeys(experiments.runs_of(table)):
            name = folder_name(budget, run, seed)
            training = training_options(experiments.runs[run], size, name, seed, data)
            tests = filled({test: size['tests'][test] for test in wanted}, data or size.get('data'))
            yield Job(run, seed, name, training, tests)


def prepare(experiments: Experiments, budget: str) -> None:
    """Make the pictures of a budget that makes its own.

    Raises:
        RunError: That failed.
    """
    size = experiments.budgets[budget]
    if 'prepare' in size and not Path(size['prepared']).is_dir():
        script, *words = size['prepare']
        _start([str(ROOT / script), *words])


def do(job: Job, place: str) -> None:
    """Train and measure, where that has not been done yet; ``place`` says how far the whole is.

    Raises:
        RunError: A program failed, or the folder holds a run with other options.
    """
    checkpoint = Path('experiments') / job.name / 'models' / 'net_g_latest.pth'
    options = FOLDER / f'{job.name}.yml'
    if options.is_file() and read_yaml(options) != job.training and checkpoint.parent.exists():
        raise RunError(
            f'experiments/{job.name} was trained with other options than are asked for now (those are in {options}). '
            'Remove that folder and the file, or work in another folder'
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    options.write_text(as_yaml(job.training), encoding='utf-8')
    if not checkpoint.is_file():
        say(f'{place} {job.name}: training')
        _start(['-m', 'basicsr.train', '-opt', str(options), '--auto_resume'])
    missing = not_measured(job.name, job.tests, since=checkpoint)
    if not missing:
        say(f'{place} {job.name}: there already')
        return
    say(f'{place} {job.name}: measuring {", ".join(missing)}')
    tests = FOLDER / f'{job.name}_test.yml'
    opt = test_options(job.training, missing, job.name, checkpoint)
    tests.write_text(as_yaml(opt), encoding='utf-8')
    _start(['-m', 'basicsr.test', '-opt', str(tests)])
    remember(job.name, missing)


def not_measured(name: str, tests: dict[str, Any], since: Path | None = None) -> dict[str, Any]:
    """The tests without figures, or with those of other pictures or of an earlier network.

    Args:
        name: Of the folder in ``results/``.
        tests: Name of each test to its tasks.
        since: The network's file.
    """
    record = _record(name)
    known = read_yaml(record) if record.is_file() else {}
    earliest = since.stat().st_mtime if since else 0

    def there(test: str) -> bool:
        path = result_file(name, test)
        return path.is_file() and path.stat().st_mtime >= earliest and known.get(test) == tests[test]

    return {test: tasks for test, tasks in tests.items() if not there(test)}


def remember(name: str, tests: dict[str, Any]) -> None:
    """Write down of which pictures the figures in ``results/<name>`` are."""
    record = _record(name)
    known = read_yaml(record) if record.is_file() else {}
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(as_yaml({**known, **tests}), encoding='utf-8')


def _record(name: str) -> Path:
    return FOLDER / f'{name}_measured.yml'


def count_done(experiments: Experiments, table: str, budget: str) -> int:
    """How many of a table's runs have all their figures, with seed 0."""
    todo = jobs(experiments, table, budget, seeds=1, data=None)
    return sum(all(result_file(job.name, test).is_file() for test in job.tests) for job in todo)


def result_file(name: str, test: str) -> Path:
    """Where the figures of one test are."""
    return Path('results') / name / f'metrics_{test}.json'


def figures(names: Sequence[str], test: str, metric: str) -> Figure | None:
    """One cell of a table: a test's mean over the seeds, whose runs ``names`` are; None where one is missing."""
    values = []
    for name in names:
        path = result_file(name, test)
        if not path.is_file():
            return None
        values.append(json.loads(path.read_text(encoding='utf-8'))['means']['average'][metric])
    return Figure.of(values)


def say(text: str) -> None:
    """One line for the person who waits."""
    sys.stderr.write(f'reproduce: {text}\n')
    sys.stderr.flush()


def _start(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode:
        raise RunError(f'`python {" ".join(words)}` failed with status {done.returncode}; what went wrong stands above')

