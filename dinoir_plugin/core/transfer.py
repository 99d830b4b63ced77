"""Copies between main memory and a GPU that the host does not wait for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; on a GPU it is there for what is computed from now on."""
    pins = device.type == 'cuda' and not value.is_cuda
    return (value.pin_memory() if pins else value).to(device, non_blocking=True)


class OnTheWay:
    """Hold tensors on their way to main memory.

    What is computed later may take their place on the GPU at once.

    Args:
        tensors: Name to tensor, all on one device; on the CPU they stay the same.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = {name: value.detach() for name, value in tensors.items()}
        self._arrival: torch.cuda.Event | None = None
        for name, value in self._tensors.items():
            if value.is_cuda:
                place = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
                self._tensors[name] = place.copy_(value, non_blocking=True)
                self._arrival = torch.cuda.Event()
                self._arrival.record(torch.cuda.current_stream(value.device))

    def arrived(self) -> dict[str, Tensor]:
        """Give the tensors once they are there."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._tensors
