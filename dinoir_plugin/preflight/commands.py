"""The command ``dinoir check``. What it needs is imported when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dinoir_plugin.core.console import BAD, GOOD, complain, note, say


def add_check(commands: Any) -> None:
    """Describe ``dinoir check``."""
    parser = commands.add_parser(
        'check',
        help='check an options file, its data and its weights before a run',
        description='Looks at everything that a run needs, without beginning it: options, images, network, losses, '
        'weights, checkpoints, disk space. Writes a contact sheet with samples of each task. '
        'Exit status: 0 good or warnings only, 1 errors, 2 wrong use.',
    )
    parser.add_argument('options', help='the options file, as given to train.py or test.py')
    parser.add_argument('--full', action='store_true', help='decode every image, on all cores')
    parser.add_argument('--out', default='.', metavar='FOLDER', help='where check_<name>.png goes (default: here)')
    parser.add_argument('--auto_resume', action='store_true', help="hold the run's last checkpoint against the options")
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEYS=VALUE',
                        help="as BasicSR's, for instance train:ema_decay=0.999")
    parser.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    folder = Path(args.out)
    if not Path(args.options).is_file():
        raise ValueError(f'there is no options file {args.options}')
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'--out: expected a folder, but {folder} is a file')
    note(f'{args.options}: checking options, images, network and weights')
    from dinoir_plugin.preflight.check import check_run

    try:
        report, sheet = check_run(args.options, args.force_yml, args.full, folder, args.auto_resume)
    except SystemExit as error:  # a file that is no YAML, in one line
        complain(str(error))
        return BAD
    say('No samples could be drawn\n' if sheet is None else f'Samples of each task: {sheet}\n')
    say(report.text())
    return BAD if report.has_errors else GOOD
