"""``parse_options`` is the first thing that train.py and test.py call: what must happen at a run's start hangs here.

A bad options file ends in one line instead of a traceback, the run's folders are set (``output_root``), the caller's
``load_resume_state`` is mended (``resume``), and options that concern the plugin are checked, all before any folder
is made or renamed. The parsing itself stays the host's.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dinoir_plugin.compat import output_root, resume
from dinoir_plugin.compat._replace import is_ours, replace
from dinoir_plugin.compat.safe_yaml import OptionsLoader
from dinoir_plugin.errors import OptionsError


def command_line(argv: list[str]) -> tuple[str | None, list[str]]:
    """The options file and the ``--force_yml`` entries; (None, []) where the host's parser will refuse the line."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument('-opt')
    parser.add_argument('--force_yml', nargs='+', default=[])
    try:
        known, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        return None, []
    return known.opt, known.force_yml


def read_options(path: str) -> dict[str, Any]:
    """Read an options file.

    Raises:
        SystemExit: It cannot be read, is not YAML, holds anything but plain values or a key twice.
    """
    try:
        with Path(path).open() as file:
            opt = yaml.load(file, Loader=OptionsLoader)  # derived from the safe loader
    except OSError as error:
        raise SystemExit(f'{path}: cannot read the options file: {error.strerror}') from None
    except UnicodeDecodeError as error:
        raise SystemExit(f'{path}: cannot read the options file: {error}') from None
    except yaml.YAMLError as error:
        raise SystemExit(f'{path}: {_one_line(error)}') from None
    if not isinstance(opt, dict):
        raise SystemExit(f'{path}: expected a mapping of options, got {type(opt).__name__}')
    return opt


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, 'problem_mark', None)
    problem = getattr(error, 'problem', None) or str(error)
    return ' '.join((f'line {mark.line + 1}: {problem}' if mark else problem).split())


def requested_root(opt: dict[str, Any], forced: list[str], key: str) -> str | None:
    """The user's ``path.<key>``: BasicSR 1.4.2 overwrites it while parsing, so it is read here."""
    from basicsr.utils import options

    path_opt = opt.get('path')
    value = path_opt.get(key) if isinstance(path_opt, dict) else None
    for entry in forced:
        name, _, text = entry.partition('=')
        if name.strip() == f'path:{key}':
            value = options._postprocess_yml_value(text.strip())
    return None if value is None else str(value)


def concerns_plugin(opt: dict[str, Any]) -> bool:
    """Whether the plugin's own model runs, whose options are all known; what other models read is theirs to say."""
    return opt.get('model_type') == 'DINOIRModel'


def is_first_rank() -> bool:
    """Whether this process is the one that speaks; known from the launcher's environment before torch knows it."""
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'


@contextmanager
def one_line(path: str) -> Iterator[None]:
    """While open, an OptionsError ends the process with its message behind the file's name, once for all ranks.

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
        from dinoir_plugin import preflight  # here: it builds networks, and is of no use to a program that trains none

        caller = sys._getframe(1).f_globals
        path, forced = command_line(sys.argv[1:])
        as_written = {} if path is None else read_options(path)
        ours = concerns_plugin(as_written)
        if ours and path is not None:
            with one_line(path):
                preflight.check_schema(as_written, is_train)
        base = requested_root(as_written, forced, 'experiments_root' if is_train else 'results_root')
        opt, args = host(root_path, is_train=is_train)
        output_root.place(opt, root_path, base, is_train)
        resume.take_over(caller)
        seed_training_data(opt)
        # one rank looks for all: the others could only find the same, and the launcher ends them with it
        if ours and is_first_rank():
            with one_line(args.opt):
                preflight.check_builds(opt, is_train)
        return opt, args

    replace(host, parse_options)
    return True


def seed_training_data(opt: dict[str, Any]) -> None:
    """Hand ``manual_seed`` to our training sets, to which the host gives no seed; test sets keep their own."""
    for dataset in opt['datasets'].values():
        if dataset.get('type') == 'MixedDegradationDataset' and dataset['phase'] == 'train':
            dataset.setdefault('seed', opt['manual_seed'])
