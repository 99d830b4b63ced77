"""From the name of a table or figure to what has to be trained, measured, written and drawn for it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from dinoir_plugin.core.errors import under
from dinoir_plugin.core.options_files import CHECKOUT, options_folder
from dinoir_plugin.experiments import beforehand, degraded, report, runs
from dinoir_plugin.experiments.flat_options import flat_files
from dinoir_plugin.experiments.measured import RunError, refuse_stale
from dinoir_plugin.experiments.variants import (
    Experiments,
    every_paper,
    training_options,
)


class Request(NamedTuple):
    """Hold what a person asks for.

    Attributes:
        what: A table or figure.
        budget: How large.
        seeds: Trainings of each network.
        data: Folder of the images, for budgets that ask for one.
    """

    what: str
    budget: str
    seeds: int = 1
    data: str | None = None


def run(request: Request) -> str:
    """Train and measure what is missing, then report.

    Returns:
        What to show: the report and its place, or the figure's place.

    Raises:
        RunError: Something of it cannot be done.
        OptionsError: Images of a test cannot be used.
    """
    _drawing()  # what is missing for the images is said before the trainings
    experiments = Experiments.of(request.what)
    if request.what not in experiments.feature_figures:
        todo = _jobs(experiments, request)
        runs.prepare(experiments, request.budget, request.data)
        degraded.check(_tests(todo))
        beforehand.check(todo)
        for number, job in enumerate(todo, start=1):
            runs.do(job, f'[{number}/{len(todo)}]')
        degraded.measure(experiments, request.budget, _tests(todo))
    return write_report(request)


def write_report(request: Request) -> str:
    """Write the report or figure from what has been measured.

    Returns:
        What to show: the report and its place, or the figure's place.

    Raises:
        RunError: Nothing has been measured, or something else than is asked for.
    """
    _, results = _drawing()
    image = report.path_of(request.what, request.budget, request.seeds, '.png')
    experiments = Experiments.of(request.what)
    if request.what in experiments.feature_figures:
        return _draw_features(request, image)
    todo = _jobs(experiments, request)
    for job in todo:
        runs.refuse_stale_results(job)
    refuse_stale(degraded.folder_name(experiments, request.budget), _tests(todo))
    if request.what in experiments.result_figures:
        getattr(results, request.what)(experiments, request.budget, request.seeds, image)
        return str(image)
    path = report.write(experiments, request.what, request.budget, request.seeds)
    results.rows(experiments, request.what, request.budget, image, request.data)
    return f'{path.read_text(encoding="utf-8")}\n{path}\n{image}'


def overview() -> str:
    """Say what there is to run, and what has been run."""
    lines = []
    for experiments in every_paper():
        lines += [*_targets(experiments), '', 'budgets',
                  *(f'{name:10} {size["note"]}' for name, size in experiments.budgets.items()), '']  # fmt: skip
    return '\n'.join(lines[:-1])


def _targets(experiments: Experiments) -> list[str]:
    lines = [experiments.title]
    for name, about in experiments.tables.items():
        wanted = list(dict.fromkeys(experiments.runs_of(name)))
        budgets = [budget for budget in experiments.budgets if experiments.allows(name, budget)]
        done = [f'{budget} {runs.count_done(experiments, name, budget)}' for budget in budgets]
        lines += [f'{name:10} {about["title"]}', f'{"":10} runs: {", ".join(wanted)}',
                  f'{"":10} done: of {len(wanted)}, {", ".join(done)}']  # fmt: skip
    lines += [f'{name:10} drawn from {table}' for name, table in experiments.result_figures.items()]
    lines += [f'{name:10} drawn without training' for name in experiments.feature_figures]
    lines += [f'{name:10} not built: what it shows is not known here' for name in experiments.unknown_figures]
    return lines


def write_options() -> list[Path]:
    """Write the options files of the runs in full into the checkout's ``options/`` and give their paths.

    Raises:
        RunError: The package does not run from a checkout.
    """
    if options_folder() != CHECKOUT:
        raise RunError('options files are written in a checkout; `dinoir options` prints those of the package')
    files = flat_files(Experiments())
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return [path.relative_to(CHECKOUT.parent) for path in files]


def _jobs(experiments: Experiments, request: Request) -> list[runs.Job]:
    data = runs.data_folder(experiments, request.budget, request.data)
    table = experiments.result_figures.get(request.what, request.what)
    return runs.jobs(experiments, table, request.budget, request.seeds, data)


def _tests(todo: list[runs.Job]) -> dict[str, Any]:
    """Give the tests of all runs, name to tasks."""
    return {test: tasks for job in todo for test, tasks in job.tests.items()}


def _draw_features(request: Request, image: Path) -> str:
    features, _ = _drawing()
    if request.seeds > 1 or request.data is not None:
        raise RunError(f'{request.what} is drawn of photographs of scikit-image, without training: no --seeds, '
                       'no --data')  # fmt: skip
    experiments = Experiments()
    size = experiments.budgets[request.budget]
    encoder = training_options(experiments.runs['dinoir'], size, 'figure', seed=0)['network_g']['encoder']
    with under('network_g.encoder'):
        getattr(features, request.what)(encoder, image)
    return str(image)


def _drawing() -> tuple[ModuleType, ModuleType]:
    """Import the modules that draw, which need matplotlib."""
    try:
        from dinoir_plugin.experiments import feature_figures, result_figures
    except ImportError as error:
        remedy = 'pip install "dinoir_plugin[figures]"'
        raise RunError(f'images need one more package ({error}): {remedy}') from error
    return feature_figures, result_figures
