"""Work of the host that goes on beside that of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import torch

Result = TypeVar('Result')

THREADS = 4
# tasks that wait or run: what they hold is in memory
MOST = THREADS + 1


class Beside(Generic[Result]):
    """Do tasks in threads beside the caller where that one uses a GPU, else at once.

    On a CPU the network has all cores anyway. An error of a task comes to the caller with one of the next tasks, or
    with the results; tasks that wait are dropped then.

    Args:
        device: What the caller uses.

    Raises:
        Exception: What a task raised.
    """

    def __init__(self, device: torch.device) -> None:
        self._results: list[Result] = []
        self._waiting: list[Future[Result]] = []
        self._pool: ThreadPoolExecutor | None = None
        if device.type == 'cuda':
            self._pool = ThreadPoolExecutor(
                THREADS, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),)
            )

    def __enter__(self) -> Beside[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def do(self, task: Callable[[], Result]) -> None:
        """Have a task done; waits while there are too many."""
        if self._pool is None:
            self._results.append(task())
            return
        self._collect(MOST - 1)
        self._waiting.append(self._pool.submit(task))

    def results(self) -> list[Result]:
        """Give the results of all tasks in their order, once they are there."""
        self._collect(0)
        return self._results

    def _collect(self, most: int) -> None:
        """Take the results that are there, and wait until ``most`` tasks are left."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._results.append(self._waiting.pop(0).result())
