"""Activation checkpointing of named submodules: memory for time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dinoir_plugin.guidance.attach import Guidance, guided_by, resolve_names


class _Recomputed(nn.Module):
    """Mixed in before a module's own class: in training its inside is computed again in the backward pass."""

    def forward(self, feature: Tensor) -> Tensor:
        plain = super().forward
        if not self.training:
            return plain(feature)
        # the guide is gone when the backward pass comes, so it goes along as an input
        guide = next((module.guide for module in self.modules() if isinstance(module, Guidance)), None)

        def run(feature: Tensor, guide: Tensor | None) -> Tensor:
            with guided_by(self, guide):
                return plain(feature)

        output: Tensor = checkpoint(run, feature, guide, use_reentrant=False)
        return output


def recompute_modules(network: nn.Module, names: Sequence[str], option: str = 'checkpointing') -> list[str]:
    """Let submodules of ``network`` keep their input only, and compute the rest again when gradients ask for it.

    The modules change their class, not their names, parameters or hooks, so state dicts, deep copies and the replicas
    of DataParallel stay as they are.

    Args:
        network: Its submodules named take and give one tensor, such as the levels of a Restormer.
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
        kind = type(module)
        if not issubclass(kind, _Recomputed):
            module.__class__ = type(f'Checkpointed{kind.__name__}', (_Recomputed, kind), {})
    return found
