"""``parse_options`` is the first thing that train.py and test.py call: what must happen at a run's start hangs here.

A bad options file ends in one line instead of a traceback, the run's folders are set (``output_root``), the hooks of
the plugin's own runs are put in place (``hooks``), and options that concern the plugin are checked, all before any
folder is made or renamed. The parsing itself stays the host's.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dinoir_plugin.compat._first_rank import is_first_rank
from dinoir_plugin.compat._replace import Function, is_ours, replace
from dinoir_plugin.core import freed_memory
from dinoir_plugin.core.console import note
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.yaml_options import GlanceLoader, read_options, with_forced
from dinoir_plugin.plugin import hooks, run_warnings


def command_line(argv: list[str]) -> tuple[str | None, list[str], list[str]]:
    """Find the options file, the ``--force_yml`` entries and all other words.

    Returns:
        No file and no entries where the host's parser will refuse them.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument('-opt')
    parser.add_argument('--force_yml', nargs='+', default=[])
    try:
        known, others = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        return None, [], argv
    return known.opt, known.force_yml, others


@contextmanager
def one_line(path: str) -> Iterator[None]:
    """End the process on an OptionsError inside, with its message behind the file's name, once for all ranks.

    Raises:
        SystemExit: In place of the error.
    """
    try:
        yield
    except OptionsError as error:
        run_warnings.show_waiting()
        raise SystemExit(f'{path}: {error}' if is_first_rank() else 1) from None


def mend() -> bool:
    """Wrap the host's ``parse_options``."""
    from basicsr.utils import options

    host = options.parse_options
    if is_ours(host):
        return False

    @functools.wraps(host)
    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
        from dinoir_plugin.preflight.reading import complete  # here: it needs BasicSR

        caller = sys._getframe(1).f_globals
        path, forced, others = command_line(sys.argv[1:])
        ours = path is not None and hooks.uses_plugin(_glance(path, forced))
        hooks.set_up(caller, ours)
        if path is None or not ours:
            opt, args = host(root_path, is_train=is_train)
            complete(opt, {} if path is None else _glance(path, forced), root_path, is_train)
            return opt, args
        return _parse_ours(host, root_path, is_train, path, forced, others)

    replace(host, parse_options)
    return True


def _glance(path: str, forced: list[str]) -> dict[str, Any]:
    """Look at options that may be somebody else's, to whose run it is no matter what is wrong with them."""
    file = read_options(path, GlanceLoader)
    try:
        return with_forced(file, forced)
    except OptionsError:
        return file


def _parse_ours(
    host: Function, root_path: str, is_train: bool, path: str, forced: list[str], others: list[str]
) -> tuple[dict[str, Any], argparse.Namespace]:
    """Check the options of a run of the plugin, turn them into values, and have the host parse these."""
    # what these import is of no use to a run of somebody else's, and must not break it
    from dinoir_plugin.models.restoration_model import RestorationModel
    from dinoir_plugin.preflight.builds import check_builds
    from dinoir_plugin.preflight.from_checkpoint import forced_in_two, with_network
    from dinoir_plugin.preflight.reading import parse
    from dinoir_plugin.preflight.schema import check_schema, drives
    from dinoir_plugin.preflight.values import run_values

    with one_line(path):
        before, inside = forced_in_two(forced)
        written = with_forced(with_network(with_forced(read_options(path), before)), inside)
        if drives(written):
            check_schema(written, is_train)
    opt, args = parse(host, root_path, ['-opt', path, *others], run_values(written, is_train), is_train)
    args.force_yml = forced or None
    # one rank looks for all: the others could only find the same, and the launcher ends them with it
    if is_first_rank():
        note(f'{path}: checking images, network and weights before the run')
        with one_line(path):
            check_builds(opt, is_train)
    if is_train and not opt['num_gpu']:
        freed_memory.keep()
    RestorationModel.stop_request.keyboard = is_train
    RestorationModel.options_file = ' '.join([path, '--force_yml', *forced] if forced else [path])
    return opt, args
