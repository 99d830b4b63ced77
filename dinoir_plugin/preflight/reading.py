"""Reads an options file as train.py and test.py would, without being called by one of them."""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import basicsr
from basicsr.utils import options as host_options

from dinoir_plugin.compat import output_root
from dinoir_plugin.core.training_sets import dealing_training_sets


def is_training(written: Mapping[str, Any]) -> bool:
    """Tell whether an options file, as it is written, is one for train.py."""
    datasets = written.get('datasets')
    return 'train' in written or (isinstance(datasets, Mapping) and 'train' in datasets)


def parse_as_host(path: str, forced: list[str], written: Mapping[str, Any], is_train: bool) -> dict[str, Any]:
    """Give the options as BasicSR's model and data sets get them: parsed by the host, then folders and seeds set.

    Args:
        path: The options file.
        forced: The ``--force_yml`` entries.
        written: What the file says, with these entries.
        is_train: Whether train.py would read it, or test.py.

    Raises:
        Exception: Whatever the host raises on a file that lacks what it needs.
    """
    root = str(Path(basicsr.__file__).absolute().parent.parent)
    # the host's own function: ours around it stops at the first error
    host = inspect.unwrap(host_options.parse_options)
    with _command_line(['-opt', path, *(['--force_yml', *forced] if forced else [])]):
        opt, _ = host(root, is_train=is_train)
    complete(opt, written, root, is_train)
    return opt


@contextlib.contextmanager
def _command_line(arguments: list[str]) -> Iterator[None]:
    """Let the host's parser find these arguments, and what it prints go nowhere."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.argv = before


def complete(opt: dict[str, Any], written: Mapping[str, Any], root_path: str, is_train: bool) -> None:
    """Set the run's folders and the seed of its training sets in options that the host has parsed.

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
        for dataset in dealing_training_sets(opt):
            dataset.setdefault('seed', opt['manual_seed'])
