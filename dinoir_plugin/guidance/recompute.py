"""Recompute named submodules in the backward pass: memory for time (activation checkpointing)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from dinoir_plugin.guidance.attach import Guidance, conditioned, resolve_names


class _Recomputed(nn.Module):
    """Compute the inside of a module again in the backward pass of training; mixed in before the module's own class."""

    def forward(self, *inputs: Any, **others: Any) -> Any:
        plain = super().forward
        if not self.training:
            return plain(*inputs, **others)
        # kept for the backward pass, when the condition is not set any more
        condition = next((module.condition for module in self.modules() if isinstance(module, Guidance)), None)

        def run(*inputs: Any, **others: Any) -> Any:
            with conditioned(self, condition):
                return plain(*inputs, **others)

        return checkpoint(run, *inputs, use_reentrant=False, **others)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Name the module's own class, as the mixed one stands in no file that a pickle could name."""
        parts: Any = super().__reduce_ex__(max(protocol, 2))
        return (_blank, (type(self).__mro__[2],), *parts[2:])


@cache
def _recomputed(kind: Any) -> Any:
    return type(f'Recomputed{kind.__name__}', (_Recomputed, kind), {})


def _blank(kind: Any) -> nn.Module:
    """Make a recomputed module without content, which unpickling and copying fill."""
    blank: nn.Module = nn.Module.__new__(_recomputed(kind))
    return blank


def recompute_modules(network: nn.Module, names: Sequence[str], option: str = 'checkpointing') -> list[str]:
    """Let submodules of ``network`` keep their input only, and compute the rest again when gradients ask for it.

    The modules change their class, not their names, parameters or hooks, so state dicts, deep copies, pickles and the
    replicas of DataParallel stay as they are.

    Args:
        network: Its submodules named give a tensor or several, such as the levels of a Restormer.
        names: Names or patterns (``decoder_level*``), as ``named_modules`` gives them.
        option: What an error calls ``names``.

    Returns:
        The names found, in the order of the network.

    Raises:
        OptionsError: A name that no submodule has.
    """
    found = resolve_names(network, names, option)
    for name in found:
        module = network.get_submodule(name)
        kind: Any = type(module)
        if not issubclass(kind, _Recomputed):
            module.__class__ = _recomputed(kind)
    return found
