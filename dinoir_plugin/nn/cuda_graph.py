"""A computation on a GPU as a CUDA graph: its kernels are recorded once and launched together from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar('Made')


class Recording(Generic[Made]):
    """Repeat a computation: the same kernels on the same memory.

    Nothing in it may depend on values that the host knows and that change: these stay as they were recorded. It has to
    have been made as usual before, so that nothing is tuned, loaded or kept for later while it is recorded.

    Args:
        compute: From tensors like ``inputs`` to what it makes.
        inputs: On one GPU; copied.
        pool: Of memory, shared with recordings whose results are copied before another one is repeated.

    Raises:
        RuntimeError: It cannot be recorded, as it waits for the device, or there is too little memory.
    """

    def __init__(self, compute: Callable[[list[Tensor]], Made], inputs: Sequence[Tensor], pool: Any = None) -> None:
        device = inputs[0].device
        with torch.inference_mode(False), torch.cuda.device(device):
            self._kept = [value.detach().clone() for value in inputs]
            self._graph = torch.cuda.CUDAGraph()
            before = torch.cuda.current_stream()
            try:
                # other threads, which pin memory or measure images, may go on beside
                with torch.cuda.graph(
                    self._graph, pool=pool, stream=recording_stream(device), capture_error_mode='thread_local'
                ):
                    self._made = compute(self._kept)
            finally:
                # a recording that fails leaves its own stream as the current one
                torch.cuda.set_stream(before)

    def repeat(self, inputs: Sequence[Tensor]) -> Made:
        """Compute for other tensors of the same shapes and types.

        Returns:
            The same tensors each time, with new numbers.
        """
        for kept, value in zip(self._kept, inputs):
            kept.copy_(value, non_blocking=True)
        with torch.cuda.device(self._kept[0].device):
            self._graph.replay()
        return self._made


@cache
def recording_stream(device: torch.device) -> torch.cuda.Stream:
    """Give the stream on which all recordings of a device are made: libraries keep memory for each stream."""
    return torch.cuda.Stream(device)


def is_recording(like: Tensor) -> bool:
    """Tell whether what is computed now, on the device of ``like``, is recorded: it has no numbers yet."""
    return like.is_cuda and torch.cuda.is_current_stream_capturing()
