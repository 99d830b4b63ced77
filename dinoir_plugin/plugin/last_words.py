"""A killed loader worker ends training with torch's words alone, which name a process number and no cause.

torch raises the error wherever the trainer happens to be, so it is explained where it ends: behind the traceback. An
OptionsError says all by itself, and has none.
"""

from __future__ import annotations

import re
import sys
from types import TracebackType

from dinoir_plugin.core.errors import OptionsError

DEAD_WORKER = re.compile(r'DataLoader worker .*(killed by signal|exited unexpectedly)')
EXPLANATION = (
    'A process that loads training images died. Mostly the machine was out of memory: lower num_worker_per_gpu or '
    'gt_size, or look into the system log. --auto_resume goes on from the last checkpoint.'
)


def explained(error: BaseException) -> bool:
    """Tell whether an error says that a worker died, or that the connection to one broke."""
    return isinstance(error, (ConnectionError, EOFError)) or bool(DEAD_WORKER.search(str(error)))


def speak_last() -> None:
    """Explain uncaught errors of these kinds, from now on, on the screen and in the run's log."""
    before = sys.excepthook
    if getattr(before, '__module__', None) == __name__:
        return

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        from basicsr.utils import get_root_logger

        if isinstance(error, OptionsError):
            get_root_logger().error(str(error))
            return
        before(kind, error, trace)
        if explained(error):
            get_root_logger().error(EXPLANATION)

    sys.excepthook = excepthook
