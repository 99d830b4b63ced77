"""The commands ``dinoir check``, ``options`` and ``modules``. What they need is imported when they run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.options_files import options_file, options_names

ABOUT_OPTIONS = """Prints an options file that comes with the package, or says what an option means.

    dinoir options                               all options files
    dinoir options train_dinoir_all4 > my.yml    one of them, to be changed and given to BasicSR
    dinoir options train.amp                     what an option means, takes, and is by default
    dinoir options datasets.train.tasks          the same of all options below it
    dinoir options Restormer                     the same of all options of a class
"""


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
    parser.add_argument('--time', action=argparse.BooleanOptionalAction,
                        help='where nothing is wrong, time some training steps: hours of the run, memory of the GPU '
                        '(default: on a GPU)')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEYS=VALUE',
                        help="as BasicSR's, for instance train:ema_decay=0.999")
    parser.set_defaults(run=_check)


def add_options(commands: Any) -> None:
    """Describe ``dinoir options``."""
    parser = commands.add_parser(
        'options', help='print an options file of the package, or say what an option means',
        formatter_class=argparse.RawDescriptionHelpFormatter, description=ABOUT_OPTIONS,
    )  # fmt: skip
    parser.add_argument('name', nargs='?', metavar='NAME', help='an options file, an option or a class')
    parser.add_argument('--markdown', action='store_true', help='write the reference of all options, docs/options.md')
    parser.set_defaults(run=_options)


def add_modules(commands: Any) -> None:
    """Describe ``dinoir modules``."""
    parser = commands.add_parser(
        'modules', help='list the modules of a backbone that can be guided', description='Lists the modules that '
        'guide_at can name: those that give a feature of the whole image, their channels, and their size over that of '
        'the image. A star stands for numbers, in guide_at, too.',
    )  # fmt: skip
    parser.add_argument('network', metavar='FILE.yml|ARCH', help='an options file, or the registered name of a network')
    parser.add_argument('--all', action='store_true', help='also those deep inside of others that can be guided')
    parser.set_defaults(run=_modules)


def _modules(args: argparse.Namespace) -> int:
    from dinoir_plugin.preflight.modules import modules

    try:
        say(modules(args.network, args.all))
    except SystemExit as error:  # a file that is no YAML, in one line
        note(str(error))
        return BAD
    return GOOD


def _options(args: argparse.Namespace) -> int:
    if args.markdown:
        from dinoir_plugin.preflight.reference_text import page

        say(page().rstrip('\n'))
    elif args.name is None:
        say('\n'.join(options_names()))
    elif args.name.removesuffix('.yml') in options_names():
        say(options_file(args.name).read_text(encoding='utf-8').rstrip('\n'))
    else:
        from dinoir_plugin.preflight.reference_text import answer

        say(answer(args.name, options_names()))
    return GOOD


def _check(args: argparse.Namespace) -> int:
    folder = Path(args.out)
    if not Path(args.options).is_file():
        raise ValueError(f'there is no options file {args.options}')
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'--out: expected a folder, but {folder} is a file')
    note(f'{args.options}: checking options, images, network and weights')
    from dinoir_plugin.preflight.check import check_run

    try:
        report, sheet = check_run(args.options, args.force_yml, args.full, folder, args.auto_resume, args.time)
    except SystemExit as error:  # a file that is no YAML, in one line
        note(str(error))
        return BAD
    say('No samples could be drawn\n' if sheet is None else f'Samples of each task: {sheet}\n')
    say(report.text())
    return BAD if report.has_errors else GOOD
