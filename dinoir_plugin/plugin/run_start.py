"""``parse_options`` is the first thing that train.py and test.py call: what must happen at a run's start hangs here.

A bad options file ends in one line instead of a traceback, the run's folders are set (``output_root``), the caller's
``load_resume_state`` is mended (``resume``), and options that concern the plugin are checked, all before any folder
is made or renamed. The parsing itself stays the host's.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from dinoir_plugin.compat import output_root
from dinoir_plugin.compat._first_rank import is_first_rank
from dinoir_plugin.compat._replace import is_ours, replace
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.plugin import last_words, resume
from dinoir_plugin.plugin.safe_yaml import OptionsLoader
from dinoir_plugin.plugin.training_sets import our_training_sets


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


def with_forced(opt: dict[str, Any], forced: list[str]) -> dict[str, Any]:
    """The options as ``--force_yml`` changes them, read as the host reads it (``train:ema_decay=0.9``)."""
    from basicsr.utils import options

    opt = deepcopy(opt)
    for entry in forced:
        keys, _, value = entry.partition('=')
        *parents, last = keys.strip().split(':')
        block: Any = opt
        for key in parents:
            block = block.get(key) if isinstance(block.get(key), dict) else {}
        block[last] = options._postprocess_yml_value(value.strip())
    return opt


def concerns_plugin(opt: dict[str, Any]) -> bool:
    """Whether a run uses anything of the plugin whose options can be checked."""
    datasets = opt.get('datasets')
    blocks = [opt.get('network_g'), *(datasets.values() if isinstance(datasets, dict) else ())]
    types = [block.get('type') for block in blocks if isinstance(block, dict)]
    return opt.get('model_type') == 'DINOIRModel' or not {'DINOIRArch', 'MixedDegradationDataset'}.isdisjoint(types)


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
        caller = sys._getframe(1).f_globals
        path, forced = command_line(sys.argv[1:])
        written = {} if path is None else with_forced(read_options(path), forced)
        ours = concerns_plugin(written)
        last_words.speak_last()
        if ours:
            from dinoir_plugin import preflight  # here: a run of somebody else's model has no use for it
        if path is not None and written.get('model_type') == 'DINOIRModel':
            with one_line(path):
                preflight.check_schema(written, is_train)
        opt, args = host(root_path, is_train=is_train)
        complete(opt, written, root_path, is_train)
        resume.take_over(caller)
        # one rank looks for all: the others could only find the same, and the launcher ends them with it
        if ours and is_first_rank():
            with one_line(args.opt):
                preflight.check_builds(opt, is_train)
        return opt, args

    replace(host, parse_options)
    return True


def complete(opt: dict[str, Any], written: Mapping[str, Any], root_path: str, is_train: bool) -> None:
    """Set the run's folders and the seed of our training sets in options that the host has parsed.

    Args:
        opt: The parsed options, changed in place.
        written: The same as the file has them: BasicSR 1.4.2 overwrites the folders while parsing.
        root_path: What the host takes for the root of the project.
        is_train: Whether they are for train.py or for test.py.
    """
    base = (written.get('path') or {}).get('experiments_root' if is_train else 'results_root')
    output_root.place(opt, root_path, base, is_train)
    # Without a seed in the file the host draws one in each rank, and ranks must deal from one row of samples.
    if written.get('manual_seed') is not None:
        for dataset in our_training_sets(opt):
            dataset.setdefault('seed', opt['manual_seed'])
