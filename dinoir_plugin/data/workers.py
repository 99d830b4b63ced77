"""The processes that load training images."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable


def start_worker(number: int, seed: Callable[[int], None] | None) -> None:
    """Prepare a worker before its first item; at the module's top level, so that spawned workers can unpickle it.

    Args:
        number: The worker's number.
        seed: Seeds its random numbers, called with ``number``.
    """
    # a terminal sends Ctrl-C to all; the parent ends its iteration, which takes samples
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):
        _leave_sigterm_to_parent()
    if seed is not None:
        seed(number)


def _leave_sigterm_to_parent() -> None:
    """Leave SIGTERM to the parent: Slurm sends it to all, and without workers no run could end its iteration."""
    parent = os.getppid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
