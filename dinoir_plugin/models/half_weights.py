"""Weights converted to half precision once a step, all together, in place of one by one at each use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dinoir_plugin.guidance.guided_arch import backbone_of

# what autocast computes in half precision
CONVERTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class HalfWeights:
    """Lend a network copies of its weights in half precision.

    Autocast converts weights where they are used. This converts those of linear layers and convolutions, group by
    group: one operation a group forward and one for the gradients, which come out in the weights' own type. Autocast
    finds nothing left to do. A module says ``half_weights = True`` to be converted as well, or ``False`` not to be.

    Args:
        network: Without its wrapper for several devices.
        dtype: Type of the copies.
        in_parts: Whether each child of the network, and of its backbone where it is guided, is a group of its own, so
            that gradients of the last layers are there, and on their way to other ranks, before those of the first.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, in_parts: bool) -> None:
        self.dtype = dtype
        backbone = backbone_of(network)
        parts = [part for part in network.children() if part is not backbone] + list(backbone.children())
        if not in_parts:
            parts = [network]
        seen: set[nn.Module] = set()
        self._groups = [
            [
                (module, name)
                for module in part.modules()
                if getattr(module, 'half_weights', isinstance(module, CONVERTED))
                and not (module in seen or seen.add(module))  # type: ignore[func-returns-value]
                for name, value in module.named_parameters(recurse=False)
                if value.is_floating_point()
            ]
            for part in parts
        ]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Have the network use the copies while open, in the forward pass and the backward pass.

        Parameters that do not learn, and those in half precision already, stay as they are. ``parameters()`` gives the
        copies meanwhile.
        """
        originals: list[tuple[nn.Module, str, nn.Parameter | None]] = []
        try:
            for group in self._groups:
                chosen = [(module, name) for module, name in group if self._concerns(module._parameters[name])]
                weights = [module._parameters[name] for module, name in chosen]
                if not weights:
                    continue
                originals += [(module, name, weight) for (module, name), weight in zip(chosen, weights)]
                for (module, name), copy in zip(chosen, _Converted.apply(self.dtype, *weights)):
                    module._parameters[name] = copy
            yield
        finally:
            for module, name, weight in originals:
                module._parameters[name] = weight

    def _concerns(self, weight: Tensor | None) -> bool:
        return weight is not None and weight.requires_grad and weight.dtype != self.dtype


class _Converted(torch.autograd.Function):
    """Convert many tensors by one operation, and their gradients back by another."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dtypes = [weight.dtype for weight in weights]
        return tuple(_converted(weights, [dtype] * len(weights)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        there = [(number, grad) for number, grad in enumerate(grads) if grad is not None]
        result: list[Tensor | None] = [None] * len(grads)
        converted = _converted([grad for _, grad in there], [ctx.dtypes[number] for number, _ in there])
        for (number, _), grad in zip(there, converted):
            result[number] = grad
        return None, *result


def _converted(tensors: Sequence[Tensor], dtypes: Sequence[torch.dtype]) -> list[Tensor]:
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor, dtype in zip(tensors, dtypes)]
    if copies:
        torch._foreach_copy_(copies, list(tensors))
    return copies
