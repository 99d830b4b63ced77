"""``load_resume_state`` maps the state to a CUDA device, and with ``--auto_resume`` looks in ``./experiments`` always.

Without CUDA that crashes; and ``output_root`` lets a run's folder be elsewhere. The mend reads the state onto the CPU
where there is no CUDA, and looks for the newest one in the run's own folder; all else is the host's function.

Under ``python -m basicsr.train`` and ``python basicsr/train.py`` that function lives in ``__main__``, where it cannot
be seen from here: whoever is called from there first hands the namespace to :func:`take_over`.
"""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

from dinoir_plugin.compat._replace import is_ours, replace

_host: FunctionType | None = None


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Give the state to go on from, None for a fresh start; in the place of the host's function of that name."""
    import torch
    from basicsr.utils import check_resume

    if _host is None:
        raise RuntimeError('mend() has to be called first')
    if opt['auto_resume']:
        states = list(Path(opt['path']['training_states']).glob('*.state'))
        if not states:
            return None
        opt['path']['resume_state'] = str(max(states, key=lambda path: float(path.stem)))
    file = opt['path'].get('resume_state')
    if not file or torch.cuda.is_available():
        state: dict[str, Any] | None = _host({**opt, 'auto_resume': False})
        return state
    state = torch.load(file, map_location='cpu')
    check_resume(opt, state['iter'])
    return state


def take_over(namespace: dict[str, Any]) -> bool:
    """Put the mended function into a running train.py; somebody's own trainer keeps its own function.

    Args:
        namespace: Globals of the module that runs.

    Returns:
        Whether BasicSR's own function stood there.
    """
    there = namespace.get('load_resume_state')
    if _host is None or not isinstance(there, FunctionType):
        return False
    # compiled a second time from the same file, it is another object with the same code
    if (there.__code__.co_code, there.__code__.co_names) != (_host.__code__.co_code, _host.__code__.co_names):
        return False
    namespace['load_resume_state'] = load_resume_state
    return True


def mend() -> bool:
    """Replace the function in the imported ``basicsr.train``, and remember it for ``take_over``."""
    global _host
    from basicsr import train

    if is_ours(train.load_resume_state):
        return False
    _host = train.load_resume_state
    replace(train.load_resume_state, load_resume_state)
    return True
