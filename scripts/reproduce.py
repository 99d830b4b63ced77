"""The paper's tables and figures, one command each.

    python scripts/reproduce.py list                           what there is to run, and what has been run
    python scripts/reproduce.py run table3 --budget tiny       train what is missing, measure, write the report
    python scripts/reproduce.py report table3 --budget tiny    the report alone, from what there is
    python scripts/reproduce.py run fig3b --budget mini        draw a figure; fig1b trains what table6 needs
    python scripts/reproduce.py options                        write options/paper/ anew

A run that was stopped goes on where it was. Reports and figures come into experiments/reproduce/, trained networks into
experiments/, restored images and figures of single images into results/, all under the folder that it is run in.
Training takes one process, on one GPU where there is one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dinoir_plugin.core.errors import OptionsError, under
from dinoir_plugin.experiments import degraded, report, runs
from dinoir_plugin.experiments.measured import RunError, refuse_stale
from dinoir_plugin.experiments.variants import ROOT, Experiments, flat_files, training_options

RESULT_FIGURES = {'fig1b': 'table6'}  # and the table that it is drawn from
FEATURE_FIGURES = ('fig3a', 'fig3b', 'fig5')


def main() -> int:
    """Run one command; the exit status says whether it worked."""
    experiments = Experiments()
    args = _arguments(experiments)
    try:
        args.command(experiments, args)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; what Python still wants to write goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RunError, OptionsError) as error:
        sys.stderr.write(f'reproduce: {error}\n')
        return 1
    except KeyboardInterrupt:
        sys.stderr.write('reproduce: stopped; the same command goes on from the last checkpoint\n')
        return 130
    return 0


def _arguments(experiments: Experiments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar='list|run|report|options')
    commands.add_parser('list').set_defaults(command=_list)
    commands.add_parser('options').set_defaults(command=_options)
    for name, command in (('run', _run), ('report', _report)):
        chosen = commands.add_parser(name)
        chosen.set_defaults(command=command)
        figures = [*RESULT_FIGURES, *FEATURE_FIGURES]
        chosen.add_argument('what', choices=[*experiments.tables, *figures], metavar='TABLE|FIGURE',
                            help=f'{", ".join(experiments.tables)}, {", ".join(figures)}')  # fmt: skip
        chosen.add_argument('--budget', choices=list(experiments.budgets), default='full',
                            help='how large (default: full, the paper\'s setting where it gives one)')  # fmt: skip
        chosen.add_argument('--seeds', type=_count, default=1, help='trainings of each network (default: 1)')
        chosen.add_argument('--data', help='folder of the images, for budgets that ask for one')
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got '{text}'")
    return int(text)


def _run(experiments: Experiments, args: argparse.Namespace) -> None:
    _drawing()  # what is missing for the images is said before the trainings
    if args.what not in FEATURE_FIGURES:
        todo = _jobs(experiments, args)
        runs.prepare(experiments, args.budget)
        degraded.check(todo[0].tests)
        for number, job in enumerate(todo, start=1):
            runs.do(job, f'[{number}/{len(todo)}]')
        degraded.measure(args.budget, todo[0].tests)
    _report(experiments, args)


def _jobs(experiments: Experiments, args: argparse.Namespace) -> list[runs.Job]:
    args.data = runs.data_folder(experiments, args.budget, args.data)
    table = RESULT_FIGURES.get(args.what, args.what)
    return runs.jobs(experiments, table, args.budget, args.seeds, args.data)


def _report(experiments: Experiments, args: argparse.Namespace) -> None:
    features, results = _drawing()
    image = report.path_of(args.what, args.budget, args.seeds, '.png')
    if args.what in FEATURE_FIGURES:
        _feature_figure(experiments, args, getattr(features, args.what), image)
        return
    todo = _jobs(experiments, args)
    for job in todo:
        runs.refuse_stale_results(job)
    refuse_stale(degraded.folder_name(args.budget), todo[0].tests)
    if args.what in RESULT_FIGURES:
        getattr(results, args.what)(experiments, args.budget, args.seeds, image)
    else:
        path = report.write(experiments, args.what, args.budget, args.seeds)
        results.rows(experiments, args.what, args.budget, image, args.data)
        sys.stdout.write(f'{path.read_text(encoding="utf-8")}\n{path}\n')
    sys.stdout.write(f'{image}\n')


def _feature_figure(
    experiments: Experiments, args: argparse.Namespace, draw: Callable[[Mapping[str, Any], Path], None], image: Path
) -> None:
    if args.seeds > 1 or args.data is not None:
        raise RunError(f'{args.what} is drawn of photographs of scikit-image, without training: no --seeds, no --data')
    size = experiments.budgets[args.budget]
    encoder = training_options(experiments.runs['dinoir'], size, 'figure', seed=0)['network_g']['encoder']
    with under('network_g.encoder'):
        draw(encoder, image)
    sys.stdout.write(f'{image}\n')


def _drawing() -> tuple[ModuleType, ModuleType]:
    """The modules that draw, which need matplotlib."""
    try:
        from dinoir_plugin.experiments import feature_figures, result_figures
    except ImportError as error:
        remedy = 'pip install "dinoir_plugin[figures]"'
        raise RunError(f'images need one more package ({error}): {remedy}') from error
    return feature_figures, result_figures


def _options(experiments: Experiments, args: argparse.Namespace) -> None:
    for path, text in flat_files(experiments).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding='utf-8')
        sys.stdout.write(f'{path.relative_to(ROOT)}\n')


def _list(experiments: Experiments, args: argparse.Namespace) -> None:
    lines = []
    for name, about in experiments.tables.items():
        wanted = list(dict.fromkeys(experiments.runs_of(name)))
        budgets = [budget for budget in experiments.budgets if experiments.allows(name, budget)]
        done = [f'{budget} {runs.count_done(experiments, name, budget)}' for budget in budgets]
        lines += [f'{name:10} {about["title"]}', f'{"":10} runs: {", ".join(wanted)}',
                  f'{"":10} done: of {len(wanted)}, {", ".join(done)}']  # fmt: skip
    lines += [f'{name:10} drawn from {table}' for name, table in RESULT_FIGURES.items()]
    lines += [f'{name:10} drawn without training' for name in FEATURE_FIGURES]
    lines += ['', 'budgets', *(f'{name:10} {size["note"]}' for name, size in experiments.budgets.items())]
    sys.stdout.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    sys.exit(main())
