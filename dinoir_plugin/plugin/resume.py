"""Resuming needs CUDA, takes the newest file though it may be broken, and looks for it in ``./experiments`` always.

These faults sit in train.py's ``load_resume_state``. Under ``python -m basicsr.train`` and ``python basicsr/train.py``
that function lives in ``__main__``, where it cannot be seen from here; our parse_options, called from there first,
puts ours in its place, and only in that of BasicSR's own function: somebody's own trainer keeps its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from dinoir_plugin.compat._first_rank import is_first_rank
from dinoir_plugin.compat._replace import is_ours, replace
from dinoir_plugin.core.atomic_files import FileError, load_verified
from dinoir_plugin.plugin.training_sets import our_training_sets

PASSED_OVER = 'passed_over'
NETWORK_NAME = re.compile(r'net_\w+?_(\d+)\.pth')


class Checkpoint:
    """The files of one iteration: the training state, and every network that a resumed run reads."""

    def __init__(self, opt: dict[str, Any], iteration: int) -> None:
        folders = opt['path']
        ignored = folders.get('ignore_resume_networks') or ()
        names = [key.removeprefix('network_') for key in opt if key.startswith('network_') and key not in ignored]
        self.iteration = iteration
        self.state = Path(folders['training_states'], f'{iteration}.state')
        self.networks = [Path(folders['models'], f'net_{name}_{iteration}.pth') for name in names]

    def load(self) -> dict[str, Any]:
        """The state, once all of the files have been found whole; a FileError about the first that is not."""
        for path in self.networks:
            load_verified(path)
        return read_state(self.state)


def read_state(path: str | Path) -> dict[str, Any]:
    """Read a training state without running code from it, onto the CPU.

    The host maps everything to the current CUDA device. Optimizers move their state to their parameters' device
    themselves, and Adam keeps its step counter on the CPU: from there a resumed run goes on as it was.

    Raises:
        FileError: It is not whole, or no training state.
    """
    state = load_verified(path)
    if not isinstance(state, dict) or not isinstance(state.get('iter'), int):
        raise FileError(f'{path} is no training state of BasicSR')
    return state


def checkpoints(opt: dict[str, Any]) -> Iterator[Checkpoint]:
    """Every iteration of which a state or a network is there, the newest first."""
    states = (path.stem for path in Path(opt['path']['training_states']).glob('*.state'))
    networks = (NETWORK_NAME.fullmatch(path.name) for path in Path(opt['path']['models']).glob('*.pth'))
    iterations = {int(stem) for stem in states if stem.isdigit()} | {int(match[1]) for match in networks if match}
    return (Checkpoint(opt, iteration) for iteration in sorted(iterations, reverse=True))


def newest_whole(opt: dict[str, Any]) -> tuple[Checkpoint, dict[str, Any]] | None:
    """The newest checkpoint with all files whole, and its state.

    What is passed over is said at once, and kept in the state for the run's own log, which is not open yet.

    Returns:
        None where the run has no checkpoint yet.

    Raises:
        SystemExit: There are files, but no whole checkpoint.
    """
    passed: list[str] = []
    for checkpoint in checkpoints(opt):
        try:
            return checkpoint, {**checkpoint.load(), PASSED_OVER: passed}
        except FileError as error:
            passed.append(f'--auto_resume passes over iteration {checkpoint.iteration}: {error}.')
            _say(passed[-1])
    if passed:
        raise SystemExit(f'--auto_resume found no whole checkpoint in {opt["path"]["experiments_root"]}. Move that '
                         'folder away to start anew.' if is_first_rank() else 1)
    return None


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """The state to go on from, None for a fresh start; in the place of the host's function of that name.

    Raises:
        SystemExit: The files to go on from are not whole.
    """
    from basicsr.utils import check_resume

    state: dict[str, Any]
    if opt['auto_resume']:
        found = newest_whole(opt)
        if found is None:
            return None
        checkpoint, state = found
        opt['path']['resume_state'] = str(checkpoint.state)
    elif opt['path'].get('resume_state'):
        try:
            state = read_state(opt['path']['resume_state'])
        except FileError as error:
            raise SystemExit(f'path.resume_state: {error}' if is_first_rank() else 1) from None
    else:
        return None
    check_resume(opt, state['iter'])
    # the host replays the interrupted epoch from its start; our data set goes on where the run stopped
    for dataset in our_training_sets(opt):
        dataset['done_iters'] = state['iter']
    return state


def _say(message: str) -> None:
    # BasicSR's own logger must not be asked for yet: train.py gives it its file after this
    if is_first_rank():
        logging.getLogger('dinoir_plugin').warning(message)


_host: FunctionType | None = None


def take_over(namespace: dict[str, Any]) -> None:
    """Put our ``load_resume_state`` into a running train.py, where that has BasicSR's own.

    Args:
        namespace: The globals of the module that called ``parse_options``.
    """
    there = namespace.get('load_resume_state')
    if _host is None or not isinstance(there, FunctionType):
        return
    # Compiled a second time from the same file, it is another object with the same code.
    if (there.__code__.co_code, there.__code__.co_names) == (_host.__code__.co_code, _host.__code__.co_names):
        namespace['load_resume_state'] = load_resume_state


def mend() -> bool:
    """Replace the function in the imported ``basicsr.train``, and remember it for ``take_over``."""
    global _host
    from basicsr import train

    if is_ours(train.load_resume_state):
        return False
    _host = train.load_resume_state
    replace(_host, load_resume_state)
    return True
