"""Going on from the newest checkpoint that is whole, with the samples that come next.

The host takes the newest state, though it may be broken, and runs what code stands in it; and it replays the
interrupted epoch from its start.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dinoir_plugin.compat import resume_device
from dinoir_plugin.compat._first_rank import is_first_rank
from dinoir_plugin.compat._replace import Function
from dinoir_plugin.core.atomic_files import FileError, load_verified
from dinoir_plugin.core.training_sets import dealing_training_sets
from dinoir_plugin.core.training_state import PASSED_OVER, read_state

NETWORK_NAME = re.compile(r'net_\w+?_(\d+)\.pth')


class Checkpoint:
    """Name the files of one iteration: the training state, and every network that a resumed run reads."""

    def __init__(self, opt: dict[str, Any], iteration: int) -> None:
        folders = opt['path']
        ignored = folders.get('ignore_resume_networks') or ()
        names = [key.removeprefix('network_') for key in opt if key.startswith('network_') and key not in ignored]
        self.iteration = iteration
        self.state = Path(folders['training_states'], f'{iteration}.state')
        self.networks = [Path(folders['models'], f'net_{name}_{iteration}.pth') for name in names]

    def load(self) -> dict[str, Any]:
        """Read the state, once all files have been found whole; raise a FileError about the first that is not."""
        for path in self.networks:
            load_verified(path)
        return read_state(self.state)


def checkpoints(opt: dict[str, Any]) -> Iterator[Checkpoint]:
    """List the iterations of which a state or a network is there, the newest first."""
    states = (path.stem for path in Path(opt['path']['training_states']).glob('*.state'))
    networks = (NETWORK_NAME.fullmatch(path.name) for path in Path(opt['path']['models']).glob('*.pth'))
    iterations = {int(stem) for stem in states if stem.isdigit()} | {int(match[1]) for match in networks if match}
    return (Checkpoint(opt, iteration) for iteration in sorted(iterations, reverse=True))


def newest_whole(opt: dict[str, Any]) -> tuple[Checkpoint, dict[str, Any]] | None:
    """Find the newest checkpoint with all files whole, and its state.

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
    """Give the state to go on from, None for a fresh start; in the place of the host's function of that name.

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
    for dataset in dealing_training_sets(opt):
        dataset['done_iters'] = state['iter']
    return state


def _say(message: str) -> None:
    # BasicSR's own logger must not be asked for yet: train.py gives it its file after this
    if is_first_rank():
        logging.getLogger('dinoir_plugin').warning(message)


def replacement() -> tuple[Function, Function]:
    """Give the mended function of the host (``compat.resume_device``) and ours."""
    return resume_device.load_resume_state, load_resume_state
