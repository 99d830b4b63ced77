"""The wrapper that exchanges a network's gradients between ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def wrapped(net: nn.Module, device: torch.device, find_unused: bool) -> DistributedDataParallel:
    """Wrap a network, whose gradients are views of what is exchanged and take no memory of their own.

    Not ``static_graph``: phases, and branches that are taken by task, change what learns.

    Args:
        net: On ``device``.
        device: This rank's.
        find_unused: Whether parameters may be left without a gradient (``find_unused_parameters``).
    """
    for parameter in net.parameters():
        if parameter.requires_grad and 1 in parameter.shape:
            _keep_strides(parameter)
    return DistributedDataParallel(
        net,
        device_ids=None if device.type == 'cpu' else [torch.cuda.current_device()],
        find_unused_parameters=find_unused,
        gradient_as_bucket_view=True,
    )


def _keep_strides(parameter: Tensor) -> None:
    """Have a parameter's gradient come with its strides.

    The weight of a depthwise convolution has an axis of one channel, along which any stride means the same; torch gives
    the gradient another one than the weight has, and the wrapper then copies it apart from the others and warns.
    """
    shape, strides = parameter.shape, parameter.stride()
    axes = [axis for axis, size in enumerate(shape) if size > 1]

    def restrided(grad: Tensor) -> Tensor:
        same = all(grad.stride(axis) == strides[axis] for axis in axes)
        return grad.as_strided(shape, strides) if same and grad.stride() != strides else grad

    parameter.register_hook(restrided)
