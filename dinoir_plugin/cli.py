"""The command line: ``dinoir restore IN OUT``, or ``python -m dinoir_plugin restore IN OUT``, and the other commands.

Each room describes its commands in a module ``commands``: ``add_<command>`` adds a parser whose defaults say what is
run (``run``, from the parsed words to an exit status). What a person can mend is raised there as ValueError or OSError
and ends here as one line. What the commands need is imported when they run: ``dinoir --help`` is there at once, and
starting Python with the plugin installed costs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from dinoir_plugin.core.console import INTERRUPTED, USAGE, note
from dinoir_plugin.datasets.commands import add_prepare
from dinoir_plugin.experiments.commands import add_compare, add_medium, add_reproduce
from dinoir_plugin.preflight.commands import add_check, add_modules, add_options
from dinoir_plugin.restore.commands import add_demo, add_export, add_info, add_restore

COMMANDS = (
    add_check, add_prepare, add_medium, add_reproduce, add_compare, add_options, add_modules, add_restore, add_info,
    add_export, add_demo,
)  # fmt: skip


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
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; what Python still wants to write goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        note(str(error))
        return args.failure
    except KeyboardInterrupt:
        note(args.stopped)
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='dinoir', description='All-in-one image restoration with BasicSR.')
    # what a command may set otherwise: the status where it raises, and what is said after Ctrl-C
    parser.set_defaults(failure=USAGE, stopped='stopped')
    commands = parser.add_subparsers(dest='command', title='commands')
    for add in COMMANDS:
        add(commands)
    return parser


if __name__ == '__main__':
    sys.exit(main())
