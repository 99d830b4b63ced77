"""Reads an options file as train.py and test.py would, without being called by one of them."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import basicsr
from basicsr.utils import options as host_options

from dinoir_plugin.compat import output_root
from dinoir_plugin.core.training_sets import dealing_training_sets
from dinoir_plugin.core.yaml_options import OptionsLoader


def is_training(written: Mapping[str, Any]) -> bool:
    """Tell whether an options file, as it is written, is one for train.py."""
    datasets = written.get('datasets')
    return 'train' in written or (isinstance(datasets, Mapping) and 'train' in datasets)


def parse_as_host(
    path: str, more: Sequence[str], values: Mapping[str, Any], is_train: bool
) -> tuple[dict[str, Any], argparse.Namespace]:
    """Have the host parse options that have been read already, then set the run's folders and seeds.

    Args:
        path: The options file.
        more: Further words of the command line, without ``--force_yml``.
        values: What the file says, with these entries, as values.
        is_train: Whether train.py would read it, or test.py.

    Returns:
        The options as BasicSR's model and data sets get them, and the host's command line.

    Raises:
        Exception: Whatever the host raises on a file that lacks what it needs.
    """
    root = str(Path(basicsr.__file__).absolute().parent.parent)
    return parse(inspect.unwrap(host_options.parse_options), root, ['-opt', path, *more], values, is_train)


def parse(
    host: Callable[..., Any], root_path: str, words: list[str], values: Mapping[str, Any], is_train: bool
) -> tuple[dict[str, Any], argparse.Namespace]:
    """Do so with the host's own function; arguments as there and as :func:`complete`."""
    with _command_line(words), _read_already(values):
        opt, args = host(root_path, is_train=is_train)
    complete(opt, values, root_path, is_train)
    return opt, args


@contextlib.contextmanager
def _read_already(values: Mapping[str, Any]) -> Iterator[None]:
    """Let the host's reader of YAML find these values, whatever stands in its file."""

    class Reader(OptionsLoader):
        def get_single_data(self) -> Any:
            return deepcopy(dict(values))

    before = host_options.ordered_yaml
    host_options.ordered_yaml = lambda: (Reader, before()[1])
    try:
        yield
    finally:
        host_options.ordered_yaml = before


@contextlib.contextmanager
def _command_line(arguments: list[str]) -> Iterator[None]:
    """Let the host's parser find these arguments."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


def complete(opt: dict[str, Any], written: Mapping[str, Any], root_path: str, is_train: bool) -> None:
    """Set the run's folders and the seed of its training sets in options that the host has parsed.

    Args:
        opt: The parsed options, changed in place.
        written: The same before: BasicSR 1.4.2 overwrites the folders while parsing.
        root_path: What the host takes for the root of the project.
        is_train: Whether they are for train.py or for test.py.
    """
    base = (written.get('path') or {}).get('experiments_root' if is_train else 'results_root')
    output_root.place(opt, root_path, base, is_train)
    # Without a seed in the file the host draws one in each rank, and ranks must deal from one row of samples.
    if written.get('manual_seed') is not None:
        for dataset in dealing_training_sets(opt):
            dataset.setdefault('seed', opt['manual_seed'])
