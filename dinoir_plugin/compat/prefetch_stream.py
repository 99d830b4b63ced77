"""With ``prefetch_mode: cuda`` a batch's memory may be given to the next one while a kernel still reads it.

The host copies on a stream of its own and hands tensors to another without telling the allocator, which takes a
tensor's memory for free when Python drops it. ``record_stream`` tells it who else is at work.
"""

from __future__ import annotations

from typing import Any

import torch

from dinoir_plugin.compat._replace import is_ours


def next_batch(self: Any) -> Any:
    """Give the batch that was copied meanwhile, and begin to copy the next one."""
    stream = torch.cuda.current_stream()
    stream.wait_stream(self.stream)
    batch = self.batch
    for value in (batch or {}).values():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            value.record_stream(stream)
    self.preload()
    return batch


def mend() -> bool:
    """Replace the host's ``CUDAPrefetcher.next``."""
    from basicsr.data.prefetch_dataloader import CUDAPrefetcher

    if is_ours(CUDAPrefetcher.next):
        return False
    CUDAPrefetcher.next = next_batch
    return True
