"""The command line: ``dinoir restore IN OUT``, or ``python -m dinoir_plugin restore IN OUT``, and the other commands.

What the commands need is imported when they run: starting Python with the plugin installed costs nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dinoir_plugin.core.console import BAD, GOOD, INTERRUPTED, USAGE, complain, say
from dinoir_plugin.restore import commands as restoring


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its words, without the program's name; those of the process where None.

    Returns:
        The exit status: 0 (good, or warnings only), 1 (errors were found), 2 (the command itself is wrong).
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return USAGE
    try:
        status: int = args.run(args)
    except KeyboardInterrupt:
        complain('stopped')
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='dinoir', description='DINO-IR for BasicSR.')
    commands = parser.add_subparsers(dest='command', title='commands')
    restoring.add_restore(commands)
    restoring.add_info(commands)
    restoring.add_export(commands)
    restoring.add_demo(commands)
    check = commands.add_parser(
        'check',
        help='check an options file, its data and its weights before a run',
        description='Looks at everything that a run needs, without beginning it: options, images, network, losses, '
        'weights, checkpoints, disk space. Writes a contact sheet with samples of each task. '
        'Exit status: 0 good or warnings only, 1 errors, 2 wrong use.',
    )
    check.add_argument('options', help='the options file, as given to train.py or test.py')
    check.add_argument('--full', action='store_true', help='decode every image, on all cores')
    check.add_argument('--out', default='.', metavar='FOLDER', help='where check_<name>.png goes (default: here)')
    check.add_argument('--force_yml', nargs='+', default=[], metavar='KEYS=VALUE',
                       help="as BasicSR's, for instance train:ema_decay=0.999")
    check.set_defaults(run=_check)
    return parser


def _check(args: argparse.Namespace) -> int:
    folder = Path(args.out)
    if not Path(args.options).is_file():
        complain(f'there is no options file {args.options}')
        return USAGE
    if folder.exists() and not folder.is_dir():
        complain(f'--out: expected a folder, but {folder} is a file')
        return USAGE
    from dinoir_plugin.preflight.check import check_run

    try:
        report, sheet = check_run(args.options, args.force_yml, args.full, folder)
    except ValueError as error:
        complain(str(error))
        return USAGE
    except SystemExit as error:  # a file that is no YAML, in one line
        complain(str(error))
        return BAD
    say('No samples could be drawn\n' if sheet is None else f'Samples of each task: {sheet}\n')
    say(report.text())
    return BAD if report.has_errors else GOOD


if __name__ == '__main__':
    sys.exit(main())
