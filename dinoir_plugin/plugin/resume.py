"""Going on from the newest checkpoint that is whole, with the samples that come next.

The host takes the newest state, though it may be broken, and runs what code stands in it; and it replays the
interrupted epoch from its start.
"""

from __future__ import annotations

import logging
from typing import Any

from dinoir_plugin.compat import resume_device
from dinoir_plugin.compat._first_rank import is_first_rank
from dinoir_plugin.compat._replace import Function
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.training_sets import dealing_training_sets
from dinoir_plugin.core.training_state import PASSED_OVER, newest_whole, read_state


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Give the state to go on from, None for a fresh start; in the place of the host's function of that name.

    Raises:
        SystemExit: The files to go on from are not whole.
    """
    from basicsr.utils import check_resume

    state: dict[str, Any]
    if opt['auto_resume']:
        try:
            found = newest_whole(opt)
        except FileError as error:
            raise SystemExit(str(error) if is_first_rank() else 1) from None
        if found is None:
            return None
        checkpoint, state = found
        for message in state[PASSED_OVER]:
            _say(message)
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
        dataset.update(done_iters=state['iter'], done_samples=state.get('samples'))
        dataset['done_ranks'] = len(state.get('ranks') or ()) or None
    return state


def _say(message: str) -> None:
    # BasicSR's own logger must not be asked for yet: train.py gives it its file after this
    if is_first_rank():
        logging.getLogger('dinoir_plugin').warning(message)


def replacement() -> tuple[Function, Function]:
    """Give the mended function of the host (``compat.resume_device``) and ours."""
    return resume_device.load_resume_state, load_resume_state
