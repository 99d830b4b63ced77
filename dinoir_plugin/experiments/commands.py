"""The command ``dinoir reproduce``. What it needs is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from dinoir_plugin.core.console import BAD, GOOD, say

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


def _known(kind: str) -> Callable[[str], str]:
    """Give the check of a word of the command line; the files that list the words are read when one is there."""

    def check(word: str) -> str:
        from dinoir_plugin.experiments.variants import Experiments

        words: list[str] = list(getattr(Experiments(), kind))
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
