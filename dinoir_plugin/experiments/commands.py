"""The commands ``dinoir reproduce``, ``compare`` and ``medium``. What they need is imported when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dinoir_plugin.core.console import BAD, GOOD, say
from dinoir_plugin.imaging.paths import written_path

DESCRIPTION = """The papers' tables and figures, one command each.

    dinoir reproduce list                           what there is to run, and what has been run
    dinoir reproduce run table3 --budget tiny       train what is missing, measure, write the report
    dinoir reproduce report table3 --budget tiny    the report alone, from what there is
    dinoir reproduce run fig3b --budget mini        draw a figure; fig1b trains what table6 needs
    dinoir reproduce options                        write options/dinoir/ of a checkout anew

A run that was stopped goes on where it was. Reports and figures come into experiments/reproduce/, trained networks into
experiments/, restored images and figures of single images into results/, all under the folder that it is run in.
Training takes one process, on one GPU where there is one.
"""
COMPARE = """Compare runs image by image, and say what of a difference is more than chance.

    dinoir compare results/plain results/guided               the first is the reference
    dinoir compare results/plain_seed* results/guided_seed*   runs that differ by seed are paired by it
    dinoir compare --a results/x results/y --b results/u results/v    two sides, paired in this order
    dinoir compare experiments/plain experiments/guided --plot validation.png

Reads metrics_<set>.json, which validations write to experiments/<run>/ and tests to results/<run>/. For each set (and
task) and each metric: both means, the mean difference over the images that both have, its standard deviation, and its
95 % interval by Student's t: over images with one seed, over seeds with several.
"""
MEDIUM = """Restore each image of a training set by the network that was trained without its fold.

    dinoir prepare folds options/perceive_ir/folds.yml --scene 'deblur=(.+)/' --out datasets/perceive_ir/folds
    python -m basicsr.train -opt datasets/perceive_ir/folds/without0.yml     and without1.yml
    dinoir medium options/perceive_ir/folds.yml --folds datasets/perceive_ir/folds --out datasets/perceive_ir/images

Writes <out>/<task>/medium/, and where the degraded images are made the very ones to <out>/<task>/low/, as PNG. An
interrupted run goes on with the same command.
"""


def add_reproduce(commands: Any) -> None:
    """Describe ``dinoir reproduce``."""
    parser = commands.add_parser(
        'reproduce', help="train and measure a paper's table, or draw its figure", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(failure=BAD, stopped='stopped; the same command goes on from the last checkpoint')
    steps = parser.add_subparsers(required=True, metavar='list|run|report|options')
    steps.add_parser('list', help='what there is to run').set_defaults(run=_list)
    steps.add_parser('options', help='write options/dinoir/ of a checkout').set_defaults(run=_write_options)
    for name, run, text in (('run', _run, 'train, measure and report'), ('report', _report, 'report what there is')):
        chosen = steps.add_parser(name, help=text)
        chosen.set_defaults(run=run)
        chosen.add_argument('what', type=_known('targets'), metavar='TABLE|FIGURE', help='see `dinoir reproduce list`')
        chosen.add_argument('--budget', type=_known('budgets'), default='full',
                            help="how large (default: full, the paper's setting where it gives one)")
        chosen.add_argument('--seeds', type=_count, default=1, help='trainings of each network (default: 1)')
        chosen.add_argument('--data', help='folder of the images, for budgets that ask for one')


def add_compare(commands: Any) -> None:
    """Describe ``dinoir compare``."""
    parser = commands.add_parser(
        'compare', help='compare runs image by image: what is better, and is it more than chance', description=COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument('runs', nargs='*', type=Path, metavar='EXP',
                        help='folders of runs in experiments/ or results/; the first is the reference')
    parser.add_argument('--a', nargs='+', type=Path, default=[], metavar='EXP', help='runs of one side, the reference')
    parser.add_argument('--b', nargs='+', type=Path, default=[], metavar='EXP', help='runs of the other side')
    parser.add_argument('--metric', nargs='+', default=[], metavar='NAME', help='these only, as val.metrics calls them')
    parser.add_argument('--out', type=written_path, metavar='FILE.md', help='write it as Markdown, too')
    parser.add_argument('--plot', type=written_path, metavar='FILE.png',
                        help='draw the validations of the trainings over iterations')
    parser.set_defaults(run=_compare, failure=BAD)


def add_medium(commands: Any) -> None:
    """Describe ``dinoir medium``."""
    parser = commands.add_parser(
        'medium', help='images of medium quality, by networks that were not trained on them', description=MEDIUM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument('options', type=written_path, metavar='OPTIONS.yml', help='of which the folds were made')
    parser.add_argument('--folds', type=written_path, required=True, metavar='FOLDER', help='the lists')
    parser.add_argument('--out', type=written_path, required=True, metavar='FOLDER', help='of the images')
    parser.add_argument('--checkpoints', nargs='+', type=written_path, default=(), metavar='CKPT',
                        help='a network for each fold, trained without it; default: those of the runs <name>_<fold>')
    parser.add_argument('--tile', type=int, metavar='N', help='side of the tiles; default: as the free memory allows')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32', help='default: fp32')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: auto)')
    parser.set_defaults(run=_medium, failure=BAD, stopped='stopped; the same command goes on from here')


def _medium(args: argparse.Namespace) -> int:
    from dinoir_plugin.experiments.medium import render

    settings = {'tile': args.tile or 'auto', 'precision': args.precision}
    done = render(args.options, args.folds, args.out, args.checkpoints, args.device, settings)
    there = f', {done.there} there already' if done.there else ''
    say(f'{args.out}: {done.rendered} images of medium quality{there}')
    return GOOD


def _compare(args: argparse.Namespace) -> int:
    for words, path, ending in (('--out', args.out, '.md'), ('--plot', args.plot, '.png')):
        if path is not None and path.suffix != ending:
            raise ValueError(f"{words}: expected a file that ends in {ending}, got '{path}'")
    from dinoir_plugin.core.atomic_files import write_atomic
    from dinoir_plugin.experiments.compare import find_groups, report

    groups = find_groups(args.runs, args.a, args.b)
    say(report(groups, args.metric))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(args.out, f'{report(groups, args.metric, markdown=True)}\n'.encode())
    if args.plot is not None:
        try:
            from dinoir_plugin.experiments.validation_figure import draw
        except ImportError as error:
            remedy = 'pip install "dinoir_plugin[figures]"'
            raise ValueError(f'--plot needs one more package ({error}): {remedy}') from error
        draw(groups, args.metric, args.plot)
    return GOOD


def _known(kind: str) -> Callable[[str], str]:
    """Give the check of a word of the command line; the files that list the words are read when one is there."""

    def check(word: str) -> str:
        from dinoir_plugin.experiments.variants import every_paper

        words = list(dict.fromkeys(word for paper in every_paper() for word in getattr(paper, kind)))
        if word not in words:
            raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(words)}")
        return word

    return check


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got '{text}'")
    return int(text)


def _list(args: argparse.Namespace) -> int:
    from dinoir_plugin.experiments.reproduce import overview

    say(overview())
    return GOOD


def _write_options(args: argparse.Namespace) -> int:
    from dinoir_plugin.experiments.reproduce import write_options

    say('\n'.join(map(str, write_options())))
    return GOOD


def _run(args: argparse.Namespace) -> int:
    from dinoir_plugin.experiments.reproduce import Request, run

    say(run(Request(args.what, args.budget, args.seeds, args.data)))
    return GOOD


def _report(args: argparse.Namespace) -> int:
    from dinoir_plugin.experiments.reproduce import Request, write_report

    say(write_report(Request(args.what, args.budget, args.seeds, args.data)))
    return GOOD
