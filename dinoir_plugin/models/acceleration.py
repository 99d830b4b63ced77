"""How a training step is computed: precision, compilation, memory format, checkpointing (options under ``train``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from dinoir_plugin.guidance.guided_arch import backbone_of
from dinoir_plugin.guidance.recompute import recompute_modules

# YAML reads a bare `off` as false
PRECISIONS: dict[object, torch.dtype | None] = {
    'off': None,
    False: None,
    None: None,
    'bf16': torch.bfloat16,
    'fp16': torch.float16,
}


class Precision:
    """Autocast for the forward pass and, for fp16, a scaled loss for the backward pass.

    The loss scale is kept in the optimizer's state dict, so that BasicSR's training states carry it.

    Args:
        amp: ``off``, ``bf16`` or ``fp16``.
        device: Where the network is.
    """

    def __init__(self, amp: object, device: torch.device) -> None:
        self.device_type = device.type
        self.dtype = PRECISIONS[amp]
        if self.dtype is torch.bfloat16 and device.type == 'cpu' and not has_bf16():
            get_root_logger().warning(
                'train.amp: bf16 on a processor without units for it: a matrix product takes about a hundred times as '
                'long as in float32. Use amp: off here.'
            )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def autocast(self) -> torch.autocast:
        """Open the context of the forward pass and the losses."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass."""
        self.scaler.scale(loss).backward()

    def clip(self, optimizer: torch.optim.Optimizer, params: Iterable[Tensor], max_norm: float) -> Tensor:
        """Clip all gradients together; not where ``max_norm`` is 0.

        Returns:
            Their norm before, a scalar.
        """
        self.scaler.unscale_(optimizer)
        return nn.utils.clip_grad_norm_(params, max_norm or math.inf)

    def step(self, optimizer: torch.optim.Optimizer, bad: Tensor | None = None) -> None:
        """Make the optimizer's step; with fp16 it is left out where a gradient is not finite, and the scale lowered.

        Args:
            optimizer: Its gradients are those of :meth:`backward`.
            bad: Not 0 where the step is to be left out, a float32 scalar; of an optimizer that decides on the device.
        """
        if bad is None or self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
            return
        fused: Any = optimizer
        fused.found_inf, fused.grad_scale = bad, None
        try:
            optimizer.step()
        finally:
            del fused.found_inf, fused.grad_scale

    def leave_out(self) -> None:
        """Leave a step out, in the place of :meth:`step`."""
        self.scaler.update()

    def remember_in(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer's state dict carry the loss scale."""
        if not self.scaler.is_enabled():
            return

        def save(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            state['loss_scale'] = self.scaler.state_dict()

        def load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            if 'loss_scale' in state:
                self.scaler.load_state_dict(state['loss_scale'])

        optimizer.register_state_dict_post_hook(save)
        optimizer.register_load_state_dict_pre_hook(load)


def has_bf16() -> bool:
    """Tell whether this processor computes in bf16 rather than imitating it."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def prepare(net: nn.Module, options: Mapping[str, Any]) -> nn.Module:
    """Apply ``channels_last`` and ``checkpointing`` to a network before it is wrapped for several devices.

    Args:
        net: What is trained.
        options: The block ``train``.

    Raises:
        OptionsError: A name under ``checkpointing`` that the backbone has not.
    """
    if options.get('channels_last'):
        net = net.to(memory_format=torch.channels_last)
    names = options.get('checkpointing')
    if names:
        recompute_modules(backbone_of(net), names)
    return net


def compiled(net: nn.Module, options: Mapping[str, Any]) -> Callable[..., Tensor]:
    """Give what a training step calls: ``net``, or its compiled form where ``train.compile`` asks for it.

    Compiled for fixed sizes, so each stage of patch sizes compiles once; validation, whose images have many sizes,
    uses the network as it is.
    """
    if not options.get('compile'):
        return net
    get_root_logger().info('The network is compiled in the first iteration, which takes some minutes.')
    return torch.compile(net, dynamic=False)
