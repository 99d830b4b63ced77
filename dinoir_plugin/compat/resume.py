"""Resuming needs CUDA, and ``--auto_resume`` looks in ``./experiments`` wherever the run really is.

Both faults sit in train.py's ``load_resume_state``. Under ``python -m basicsr.train`` and ``python basicsr/train.py``
that function lives in ``__main__``, where it cannot be seen from here; our parse_options, called from there first,
puts ours in its place, and only in that of BasicSR's own function: somebody's own trainer keeps its own.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from types import FunctionType
from typing import Any

from dinoir_plugin.compat._replace import is_ours, replace
from dinoir_plugin.compat._training_sets import our_training_sets

# What states hold besides tensors and plain values: milestones of BasicSR's schedulers, optimizers' state.
ALLOWED = (Counter, OrderedDict, defaultdict, dict)


def newest_state(folder: str | Path) -> Path | None:
    """The ``<iteration>.state`` file of the highest iteration, None where there is none."""
    states = [path for path in Path(folder).glob('*.state') if path.stem.isdigit()]
    return max(states, key=lambda path: int(path.stem), default=None)


def read_state(path: str | Path) -> dict[str, Any]:
    """Read a training state without running code from it, onto the CPU.

    The host maps everything to the current CUDA device. Optimizers move their state to their parameters' device
    themselves, and Adam keeps its step counter on the CPU: from there a resumed run goes on as it was.
    """
    import torch

    with torch.serialization.safe_globals(list(ALLOWED)):
        state: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
    return state


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """The state to go on from, None for a fresh start; in the place of the host's function of that name."""
    from basicsr.utils import check_resume

    if opt['auto_resume']:
        path = newest_state(opt['path']['training_states'])
        if path is not None:
            opt['path']['resume_state'] = str(path)
    else:
        path = opt['path'].get('resume_state') or None
    if path is None:
        return None
    state = read_state(path)
    check_resume(opt, state['iter'])
    # the host replays the interrupted epoch from its start; our data set goes on where the run stopped
    for dataset in our_training_sets(opt):
        dataset['done_iters'] = state['iter']
    return state


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
