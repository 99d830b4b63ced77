"""Training and measuring what a table needs, with BasicSR's own programs. What is there already is not done again."""

from __future__ import annotations

import json
import math
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.models.step_checks import REQUEUE
from dinoir_plugin.whole_files import write_whole
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

    @property
    def checkpoint(self) -> Path:
        """The trained network."""
        return Path('experiments') / self.name / 'models' / 'net_g_latest.pth'


class Figure(NamedTuple):
    """Mean over seeds, and the standard deviation where there are several."""

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """From the values of each seed, at least one."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


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
            tests = filled({test: size['tests'][test] for test in wanted}, data)
            yield Job(run, seed, name, training, tests)


def data_folder(experiments: Experiments, budget: str, data: str | None) -> str | None:
    """The folder that ``--data`` names, absolute, where the budget asks for one.

    Raises:
        RunError: It asks for one and there is none, or the other way about.
    """
    layout = experiments.budgets[budget].get('layout')
    if layout is None:
        if data is not None:
            raise RunError(f'--data: the budget {budget} has its own pictures; leave it out')
        return None
    missing = [part for part in layout if data is None or not (Path(data) / part).is_dir()]
    if missing:
        raise RunError(f'--data: the budget {budget} needs a folder with {", ".join(layout)}; '
                       f'{f"{data} lacks {missing[0]}" if data else "none was named"}')  # fmt: skip
    return str(Path(str(data)).resolve())


def prepare(experiments: Experiments, budget: str) -> None:
    """Make the pictures of a budget that makes its own.

    Raises:
        RunError: That failed.
    """
    size = experiments.budgets[budget]
    if 'prepare' in size:
        script, *words = size['prepare']
        _start([str(ROOT / script), *words])


def do(job: Job, place: str) -> None:
    """Train and measure, where that has not been done yet; ``place`` says how far the whole is.

    Raises:
        RunError: A program failed, or the folder holds a run with other options.
    """
    checkpoint = job.checkpoint
    options = FOLDER / f'{job.name}.yml'
    _write(options, job.training)
    # the trainer puts a copy of the options that it was given beside the networks
    own = sorted(checkpoint.parents[1].glob('*.yml'))
    if checkpoint.parent.exists() and (not own or any(read_yaml(path) != job.training for path in own)):
        raise RunError(
            f'experiments/{job.name} was trained with other options than are asked for now (those are in {options}). '
            'Remove that folder, or work in another one'
        )
    if not checkpoint.is_file():
        say(f'{place} {job.name}: training')
        _start(['-m', 'basicsr.train', '-opt', str(options), '--auto_resume'])
    if not not_measured(job.name, job.tests, since=checkpoint):
        say(f'{place} {job.name}: there already')
        return
    # the tester puts earlier results aside: what other tables need is measured again, too
    wanted = {**_recorded(job.name), **job.tests}
    say(f'{place} {job.name}: measuring {", ".join(wanted)}')
    options = FOLDER / f'{job.name}_test.yml'
    _write(options, test_options(job.training, wanted, job.name, checkpoint))
    _start(['-m', 'basicsr.test', '-opt', str(options)])
    lacking = [test for test in wanted if not result_file(job.name, test).is_file()]
    if lacking:
        raise RunError(f'results/{job.name} has no figures of {", ".join(lacking)}, though the tester ended well')
    remember(job.name, wanted)


def not_measured(name: str, tests: dict[str, Any], since: Path | None = None) -> dict[str, Any]:
    """The tests without figures, or with those of other pictures or of an earlier network.

    Args:
        name: Of the folder in ``results/``.
        tests: Name of each test to its tasks.
        since: The network's file.
    """
    known = _recorded(name)
    earliest = since.stat().st_mtime if since and since.is_file() else 0

    def there(test: str) -> bool:
        path = result_file(name, test)
        return path.is_file() and path.stat().st_mtime >= earliest and known.get(test) == tests[test]

    return {test: tasks for test, tasks in tests.items() if not there(test)}


def remember(name: str, tests: dict[str, Any]) -> None:
    """Write down of which pictures the figures in ``results/<name>`` are."""
    _write(FOLDER / f'{name}_measured.yml', {**_recorded(name), **tests})


def refuse_stale(name: str, tests: dict[str, Any], since: Path | None = None) -> None:
    """Arguments as :func:`not_measured`.

    Raises:
        RunError: There are figures that a report must not show.
    """
    stale = [test for test in not_measured(name, tests, since) if result_file(name, test).is_file()]
    if stale:
        raise RunError(
            f'results/{name}: the figures of {", ".join(stale)} are of other pictures or of an earlier network. `run` '
            'in place of `report` measures them again'
        )


def _recorded(name: str) -> dict[str, Any]:
    record = FOLDER / f'{name}_measured.yml'
    return read_yaml(record) if record.is_file() else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, as_yaml(content).encode())


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
        value = json.loads(path.read_text(encoding='utf-8'))['means']['average'][metric]
        values.append(math.inf if value is None else value)  # JSON has no number for the PSNR of equal pictures
    return Figure.of(values)


def say(text: str) -> None:
    """One line for the person who waits."""
    sys.stderr.write(f'reproduce: {text}\n')
    sys.stderr.flush()


def _start(words: list[str]) -> None:
    """Run a program to its end. Asked to stop, it stops first: the trainer saves its iteration."""
    with subprocess.Popen([sys.executable, *words]) as program:
        earlier = signal.signal(signal.SIGTERM, lambda number, frame: program.terminate())
        try:
            status = program.wait()
        except KeyboardInterrupt:  # which the terminal sent to the program, too
            program.wait()
            raise
        finally:
            signal.signal(signal.SIGTERM, earlier)
    if status in (REQUEUE, -signal.SIGTERM):
        raise RunError('stopped; the same command goes on from here')
    if status:
        raise RunError(f'`python {" ".join(words)}` failed with status {status}; what went wrong stands above')
