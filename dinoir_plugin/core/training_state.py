"""Training states as BasicSR writes them, one file an iteration, and which of them a run goes on from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dinoir_plugin.core.atomic_files import FileError, load_verified

# key in a state that a run goes on from: what was said while it was looked for, for the run's log
PASSED_OVER = 'passed_over'
NETWORK_NAME = re.compile(r'net_\w+?_(\d+)\.pth')


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

    What is passed over is kept in the state, as PASSED_OVER.

    Returns:
        None where the run has no checkpoint yet.

    Raises:
        FileError: There are files, but no whole checkpoint.
    """
    passed: list[str] = []
    for checkpoint in checkpoints(opt):
        try:
            return checkpoint, {**checkpoint.load(), PASSED_OVER: passed}
        except FileError as error:
            passed.append(f'--auto_resume passes over iteration {checkpoint.iteration}: {error}.')
    if passed:
        found = '\n'.join(passed)
        raise FileError(f'{found}\n--auto_resume found no whole checkpoint in {opt["path"]["experiments_root"]}. Move '
                        'that folder away to start anew.')
    return None
