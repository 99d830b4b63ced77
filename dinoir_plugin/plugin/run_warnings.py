"""Warnings of a run, ours and those of other libraries, as one line each in its log, and each text once.

Python shows a warning on the terminal alone, with a line of code. Until the host opens the log warnings are kept; where
a run ends before that, they are shown then.
"""

from __future__ import annotations

import atexit
import logging
import warnings
from typing import Any

from dinoir_plugin.compat._first_rank import is_first_rank
from dinoir_plugin.plugin.host_warnings import NAME

_said: set[str] = set()
_waiting: list[str] = []
# what showed warnings before this did
_before: list[Any] = []


def send_to_log(ours: bool) -> None:
    """Send warnings into the log of the plugin's run that begins; those of another run are shown as before."""
    logger = logging.getLogger(NAME)
    logger.removeFilter(_write_first)
    atexit.unregister(show_waiting)
    _said.clear()
    _waiting.clear()
    shown_by_us = warnings.showwarning is _show
    if ours:
        if not shown_by_us:
            _before[:] = [warnings.showwarning]
        warnings.showwarning = _show
        logger.addFilter(_write_first)
        atexit.register(show_waiting)
    elif shown_by_us:
        warnings.showwarning = _before[0]


def show_waiting() -> None:
    """Show on the terminal what waits for a log that is not going to be opened."""
    while _waiting:
        text = _waiting.pop(0)
        if is_first_rank():
            # not by the host's logger, which this would set up without its file
            logging.getLogger('dinoir_plugin').warning(f'WARNING: {text}')


def _show(message: Warning | str, *rest: Any, **named: Any) -> None:
    text = ' '.join(str(message).split())
    if text not in _said:
        _said.add(text)
        _waiting.append(text)
        _write()


def _write_first(_: logging.LogRecord) -> bool:
    """Let a line of the log pass, behind what waits for it."""
    _write()
    return True


def _write() -> None:
    from basicsr.utils.logger import initialized_logger

    while _waiting and NAME in initialized_logger:
        logging.getLogger(NAME).warning(_waiting.pop(0))
