"""What the ranks of a run tell each other; a run of one process has itself for company."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def world_size() -> int:
    """Give the world size: how many ranks there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Give this process's rank, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def gather(value: Any) -> list[Any]:
    """Collect the values of all ranks, in their order, on each; all ranks call this together.

    Values have to be picklable.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def gather_tensor(own: Tensor) -> Tensor:
    """Collect the samples of all ranks, without gradient, on each; all ranks call this together.

    Args:
        own: (B, ...), of one shape on all ranks.

    Returns:
        (B * world size, ...): the ranks' first samples, then their second ones, as one rank alone would have had them.
    """
    if world_size() == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(world_size())]
    distributed.all_gather(parts, own.detach().contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def gather_samples(own: Tensor) -> Tensor:
    """Collect the samples of all ranks, of which each may have another number; all ranks call this together.

    Args:
        own: (B, ...), of one shape on all ranks but for B.

    Returns:
        (sum of all B, ...), without gradient: the first rank's samples, then the second one's, and so on.
    """
    own = own.detach()
    if world_size() == 1:
        return own
    counts = [torch.zeros(1, dtype=torch.long, device=own.device) for _ in range(world_size())]
    distributed.all_gather(counts, torch.full_like(counts[0], len(own)))
    sizes = torch.cat(counts).tolist()
    padded = own.new_zeros(max(sizes), *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes)])


def on_any(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """Tell of each flag whether it is set on at least one rank; all ranks call this together, with as many flags."""
    if world_size() == 1:
        return list(flags)
    tensor = torch.tensor(flags, dtype=torch.uint8, device=device)
    distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
    return [bool(flag) for flag in tensor.tolist()]


def largest(values: Tensor) -> Tensor:
    """Give the largest of all ranks' values, element by element; all ranks call this together.

    Nothing waits for the device.
    """
    if world_size() > 1:
        distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
    return values


def total(counts: Sequence[int], device: torch.device) -> list[int]:
    """Add up whole numbers over the ranks; all ranks call this together, with as many of them."""
    if world_size() == 1:
        return list(counts)
    tensor = torch.tensor(counts, device=device)
    distributed.all_reduce(tensor)
    return [int(count) for count in tensor.tolist()]


def share_statistics(network: nn.Module) -> None:
    """Give all ranks the running statistics of the first one's batch norms.

    All ranks call this together. Each took them over its own samples, so without this they would validate different
    networks.
    """
    if world_size() == 1:
        return
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for statistics in module.buffers(recurse=False):
                distributed.broadcast(statistics, 0)
