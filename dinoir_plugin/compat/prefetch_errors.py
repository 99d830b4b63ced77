"""With ``prefetch_mode: cpu`` an error in the data leaves training waiting for ever.

The error ends the thread that fetches batches, and the trainer waits for its next one. The mend hands the error over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dinoir_plugin.compat._replace import is_ours


class Failure(NamedTuple):
    """Stand in the queue where the error came."""

    error: Exception


def run(self: Any) -> None:
    """Fill the queue, in a thread: batches, then None; or batches, then a Failure."""
    try:
        for item in self.generator:
            self.queue.put(item)
    except Exception as error:  # noqa: BLE001 - it is raised again, where the trainer asks for the batch
        self.queue.put(Failure(error))
    else:
        self.queue.put(None)


def next_item(self: Any) -> Any:
    """Give the next batch, or raise the error that came in its place."""
    item = self.queue.get()
    if isinstance(item, Failure):
        raise item.error
    if item is None:
        raise StopIteration
    return item


def mend() -> bool:
    """Replace both halves of the host's PrefetchGenerator."""
    from basicsr.data.prefetch_dataloader import PrefetchGenerator

    if is_ours(PrefetchGenerator.run):
        return False
    PrefetchGenerator.run = run
    PrefetchGenerator.__next__ = next_item
    return True
