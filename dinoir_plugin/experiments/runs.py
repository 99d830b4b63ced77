"""Training and measuring what a table needs, with BasicSR's own programs. What is there already is not done again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin.core.console import note
from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.experiments.measured import (
    FOLDER,
    RunError,
    not_measured,
    record,
    recorded,
    refuse_stale,
    result_file,
    write,
)
from dinoir_plugin.experiments.programs import Progress, start
from dinoir_plugin.experiments.variants import (
    Experiments,
    begin_with,
    encode_with,
    filled,
    folder_name,
    read_yaml,
    test_options,
    training_options,
)

TRAINED = re.compile(r'\[epoch: *\d+, iter: *([\d,]+)')  # what the trainer writes every print_freq iterations
TESTED = re.compile(r'INFO: Testing \S+\.\.\.')  # what the tester writes before each set


class Job(NamedTuple):
    """Hold one training and its measurement.

    Attributes:
        run: Its name in ``experiments.yml``.
        seed: Of initial weights, patches and degradations.
        name: Its folder in ``experiments/`` and ``results/``.
        training: Options for the trainer.
        tests: Name of each test to its tasks.
        metrics: What is measured: name to options.
        learns: Whether there is anything to train.
        prepare: Module and words of the program that makes what it trains on; empty: none.
    """

    run: str
    seed: int
    name: str
    training: dict[str, Any]
    tests: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    learns: bool = True
    prepare: Sequence[str] = ()

    @property
    def checkpoint(self) -> Path | None:
        """Name the file of the trained network, where there is one."""
        return checkpoint_of(self.name) if self.learns else None

    @property
    def trained(self) -> bool:
        """Say whether the network is there, or none is needed."""
        return self.checkpoint is None or self.checkpoint.is_file()

    @property
    def log(self) -> Path:
        """Name the file of what trainer and tester print."""
        return FOLDER / f'{self.name}.log'


def checkpoint_of(name: str) -> Path:
    """Say where the trained network of a run's folder is."""
    return Path('experiments') / name / 'models' / 'net_g_latest.pth'


def jobs(experiments: Experiments, table: str, budget: str, seeds: int, data: str | None) -> list[Job]:
    """List what a table needs, seed by seed.

    Raises:
        RunError: The table is not for this budget.
    """
    if not experiments.allows(table, budget):
        fitting = ' or '.join(f'--budget {name}' for name in experiments.budgets if experiments.allows(table, name))
        raise RunError(f'{table} is not for the budget {budget}: add {fitting}')
    return list(_jobs(experiments, table, budget, seeds, data))


def _jobs(experiments: Experiments, table: str, budget: str, seeds: int, data: str | None) -> Iterator[Job]:
    size = experiments.budgets[budget]
    table_about, rows = experiments.tables[table], experiments.rows_of(table)
    sets = {test: size['tests'][test] for test in table_about['tests'] if test in size['tests']}
    for seed in range(seeds):
        for run in dict.fromkeys(experiments.runs_of(table)):
            about, name = experiments.runs[run], folder_name(budget, run, seed)
            training = training_options(about, size, name, seed, data)
            if 'after' in about:
                begin_with(training, checkpoint_of(folder_name(budget, about['after'], seed)))
            for key, other in about.get('encoders', {}).items():
                encode_with(training, key, checkpoint_of(folder_name(budget, other, seed)))
            trained = set(experiments.tasks_of(run))
            own = table_about.get('own_tests', False)
            wanted = {test: tasks for test, tasks in sets.items() if not own or trained & set(tasks)}
            tests = filled(wanted, data) if run in rows else {}
            if experiments.repeats(run) or seed == 0:
                words = size['backbones'].get(about.get('backbone'), {}).get('prepare', [])
                metrics, learns = experiments.metrics_of(budget), experiments.learns(run)
                yield Job(run, seed, name, training, tests, metrics, learns, filled(words, data))


def data_folder(experiments: Experiments, budget: str, data: str | None) -> str | None:
    """Give the folder that ``--data`` names, absolute, where the budget asks for one.

    Raises:
        RunError: It asks for one and there is none, or the other way about.
    """
    layout = experiments.budgets[budget].get('layout')
    if layout is None:
        if data is not None:
            raise RunError(f'--data: the budget {budget} has its own images; leave it out')
        return None
    missing = [part for part in layout if data is None or not (Path(data) / part).is_dir()]
    if missing:
        raise RunError(f'--data: the budget {budget} needs a folder with {", ".join(layout)}; '
                       f'{f"{data} lacks {missing[0]}" if data else "none was named"}')  # fmt: skip
    return str(Path(str(data)).resolve())


def prepare(experiments: Experiments, budget: str, data: str | None = None) -> None:
    """Make the images or lists of a budget that makes its own; ``data`` is the folder of its images, where it has one.

    Raises:
        RunError: That failed.
    """
    size = experiments.budgets[budget]
    if 'prepare' in size:
        log = FOLDER / f'prepare_{budget}.log'
        note(f'preparing the images of the budget {budget}; output: {log}')
        start(['-m', *filled(size['prepare'], data)], log, 'preparing the images')


def do(job: Job, place: str) -> None:
    """Train and measure, where that has not been done yet; ``place`` says how far the whole is.

    Raises:
        RunError: A program failed, or the folder holds a run with other options.
    """
    if job.learns:
        _train(job, place)
    elif why := _cannot_be_built(job):
        note(f'{place} {job.name}: left out. {why}')
        return
    if not not_measured(job.name, job.tests, job.checkpoint):
        note(f'{place} {job.name}: there already')
        return
    # the tester begins with an empty folder: what other tables need is measured again, too
    known = recorded(job.name)
    wanted = {**known, **job.tests}
    note(f'{place} {job.name}: measuring {", ".join(wanted)}; output: {job.log}')
    options = FOLDER / f'{job.name}_test.yml'
    write(options, test_options(job.training, wanted, job.name, job.checkpoint, job.metrics))
    record(job.name, {test: tasks for test, tasks in known.items() if test not in job.tests})
    _clear(job.name)
    progress = Progress(TESTED, len(wanted), 'set')
    start(['-m', 'basicsr.test', '-opt', str(options)], job.log, f'{place} {job.name}: measuring', progress)
    lacking = [test for test in wanted if not result_file(job.name, test).is_file()]
    if lacking:
        raise RunError(f'results/{job.name} has no figures of {", ".join(lacking)}, though the tester ended well')
    record(job.name, wanted)


def _train(job: Job, place: str) -> None:
    refuse_other_options(job)
    options = FOLDER / f'{job.name}.yml'
    write(options, job.training)
    if not job.trained:
        if job.prepare:
            note(f'{place} {job.name}: preparing its images; output: {job.log}')
            start(['-m', *job.prepare], job.log, f'{place} {job.name}: preparing its images')
        note(f'{place} {job.name}: training; output: {job.log}')
        words = ['-m', 'basicsr.train', '-opt', str(options), '--auto_resume']
        progress = Progress(TRAINED, int(job.training['train']['total_iter']), 'it')
        start(words, job.log, f'{place} {job.name}: training', progress)


def _clear(name: str) -> None:
    """Remove what a tester left, all of which is measured again; else it would be kept under a name of its own."""
    folder = result_file(name, '').parent
    for path in [*folder.glob('metrics_*'), *folder.glob('results.md'), *folder.glob(f'test_{name}_*.log')]:
        path.unlink()
    shutil.rmtree(folder / 'visualization', ignore_errors=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _cannot_be_built(job: Job) -> str:
    """Say what is missing for a run without training, such as a package; empty where nothing is."""
    try:
        build_registered(ARCH_REGISTRY, job.training['network_g'], 'network_g')
    except OptionsError as error:
        return str(error)
    return ''


def refuse_other_options(job: Job) -> None:
    """Leave a run alone that was trained in another way than the job says.

    Raises:
        RunError: There is one.
    """
    folder = checkpoint_of(job.name).parents[1]
    # the trainer puts a copy of the options that it was given beside the networks
    own = sorted(folder.glob('*.yml'))
    remedy = f'Remove that folder and results/{job.name}, or work in another one'
    if any(read_yaml(path) != job.training for path in own):
        raise RunError(f'{folder} was trained with other options than are asked for now. {remedy}')
    if not own and any((folder / 'models').glob('*')):
        raise RunError(f'{folder} has networks, but no options file that says how they were trained. {remedy}')


def refuse_stale_results(job: Job) -> None:
    """Refuse figures that a report must not show.

    Raises:
        RunError: There are some: of other options, other images or an earlier network.
    """
    if any(result_file(job.name, test).is_file() for test in job.tests):
        if job.learns:
            refuse_other_options(job)
        refuse_stale(job.name, job.tests, job.checkpoint)


def count_done(experiments: Experiments, table: str, budget: str) -> int:
    """Count a table's runs that have a network and all their figures, with seed 0."""
    todo = jobs(experiments, table, budget, seeds=1, data=None)
    return sum(
        job.trained and all(result_file(job.name, test).is_file() for test in job.tests) for job in todo
    )
