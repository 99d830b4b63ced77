"""Training states as BasicSR writes them, one file an iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dinoir_plugin.core.atomic_files import FileError, load_verified

# key in a state that a run goes on from: what was said while it was looked for, for the run's log
PASSED_OVER = 'passed_over'


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
