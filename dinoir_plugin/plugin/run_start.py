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
from dinoir_plugin.compat._replace import is_ours, replace
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.yaml_options import GlanceLoader, read_options, with_forced
from dinoir_plugin.plugin import hooks


def command_line(argv: list[str]) -> tuple[str | None, list[str]]:
    """Find the options file and the ``--force_yml`` entries; (None, []) where the host's parser will refuse them."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument('-opt')
    parser.add_argument('--force_yml', nargs='+', default=[])
    try:
        known, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        return None, []
    return known.opt, known.force_yml


@contextmanager
def one_line(path: str) -> Iterator[None]:
    """End the process on an OptionsError inside, with its message behind the file's name, once for all ranks.

    Raises:
        SystemExit: In place of the error.
    """
    try:
        yield
    except OptionsError as error:
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
        path, forced = command_line(sys.argv[1:])
        written = {} if path is None else with_forced(read_options(path, GlanceLoader), forced)
        ours = hooks.uses_plugin(written)
        hooks.set_up(caller, ours)
        if path is not None and ours:
            written = with_forced(read_options(path), forced)
            _check_written(path, written, is_train)
        opt, args = host(root_path, is_train=is_train)
        complete(opt, written, root_path, is_train)
        # one rank looks for all: the others could only find the same, and the launcher ends them with it
        if ours and is_first_rank():
            _check_parsed(args.opt, opt, is_train)
        return opt, args

    replace(host, parse_options)
    return True


# what these two import is of no use to a run of somebody else's, and must not break it


def _check_written(path: str, written: dict[str, Any], is_train: bool) -> None:
    from dinoir_plugin.preflight.schema import check_schema, drives

    if drives(written):
        with one_line(path):
            check_schema(written, is_train)


def _check_parsed(path: str, opt: dict[str, Any], is_train: bool) -> None:
    from dinoir_plugin.preflight.builds import check_builds

    with one_line(path):
        check_builds(opt, is_train)
