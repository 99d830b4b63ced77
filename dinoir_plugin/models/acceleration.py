"""How a training step is computed: precision, compilation, memory format, checkpointing (options under ``train``)."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from dinoir_plugin.guidance.attach import Guidance
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
    """Give what a training step calls: ``net``, compiled where ``train.compile`` asks for it.

    Blocks that occur several times are compiled, each kind once for each size that it meets, and the network around
    them stays as it is; so compiling takes seconds, and the network logs what it always logs. A network without such
    blocks is compiled as a whole. Sizes are fixed: validation, whose images have many, runs uncompiled.
    """
    if not options.get('compile'):
        return net
    blocks = repeated_blocks(net)
    if not blocks:
        get_root_logger().info('The network is compiled in the first iteration, which may take some minutes.')
        return torch.compile(net, dynamic=False)
    kinds = {kind: torch.compile(kind.forward, dynamic=False) for kind in {type(block) for block in blocks}}
    for block in blocks:
        # the attribute that nn.Module.compile() sets, which copies and pickles leave out
        block._compiled_call_impl = functools.partial(_call, block, kinds[type(block)])
    # one entry for each size and kind of call; the limit is meant for code that never settles
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)
    get_root_logger().info(f'{len(blocks)} blocks of {len(kinds)} kinds are compiled in the first iteration.')
    return net


def repeated_blocks(net: nn.Module) -> list[nn.Module]:
    """Find the outermost modules in lists and sequences whose class, none of torch's own, occurs more than once."""
    lists = [module for module in net.modules() if isinstance(module, (nn.Sequential, nn.ModuleList))]
    found = [child for each in lists for child in each]
    own = [
        block
        for block in dict.fromkeys(found)
        if not type(block).__module__.startswith('torch.')
        and not isinstance(block, Guidance)
        and not block._forward_hooks
        and not block._forward_pre_hooks
    ]
    counts = Counter(type(block) for block in own)
    chosen = [block for block in own if counts[type(block)] > 1]
    inside = {part for block in chosen for part in block.modules() if part is not block}
    return [block for block in chosen if block not in inside]


def _call(block: nn.Module, forward: Callable[..., Any], *inputs: Any, **others: Any) -> Any:
    return forward(block, *inputs, **others) if block.training else block._call_impl(*inputs, **others)
