"""Losses of a run: each ``train.<name>_opt`` and ``train.losses.<name>`` is built and called; no name is required."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.construct import registered
from dinoir_plugin.core.errors import under
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.guidance.guided_arch import sole_encoder
from dinoir_plugin.models.batch import Batch, Wants
from dinoir_plugin.models.options import loss_blocks

# BasicSR's names in the log; all others are l_<name>
LOGGED = {'pixel': ('l_pix',), 'perceptual': ('l_percep', 'l_style')}


class StepLoss(nn.Module):
    """Judge a step by more than an image and its target; such losses derive from it.

    Attributes:
        needs: Keys of an item beside ``lq`` and ``gt`` that the training set has to provide.
        capturable: Whether it looks at tensors alone and the host keeps nothing between steps, so that a CUDA graph
            may repeat it.
    """

    needs: frozenset[str] = frozenset()
    capturable = False

    def wants(self) -> Wants:
        """Name the layers of encoders that are read of both ``lq`` and ``gt``; none by default."""
        return {}

    def check_model(self, model: type) -> None:
        """Refuse a model that does not do what this loss relies on; any will do by default.

        Args:
            model: The class that trains.

        Raises:
            OptionsError: Its path is relative to the loss's options.
        """

    def begin(self, iteration: int) -> None:
        """Learn which iteration begins, counted from 1; called before its step. Nothing to do by default."""

    @abstractmethod
    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar."""


def fill_encoder(options: Mapping[str, Any], network: nn.Module, path: str) -> dict[str, Any]:
    """Give a loss that takes an ``encoder`` the network's own, where its options leave it out.

    Args:
        options: The loss's block, with ``type``.
        network: What is trained.
        path: Of the block, for errors.

    Raises:
        OptionsError: No such loss, or the network has no sole encoder.
    """
    kind = registered(LOSS_REGISTRY, options, path)
    missing = 'encoder' in inspect.signature(kind).parameters and options.get('encoder') is None
    return {**options, 'encoder': sole_encoder(network, f'{path}.encoder')} if missing else dict(options)


def build_losses(
    train: Mapping[str, Any], network: nn.Module, device: torch.device, model: type
) -> dict[str, nn.Module]:
    """Build all losses of the block ``train``.

    Args:
        train: The block.
        network: What is trained, without its wrapper.
        device: Where to.
        model: The class that trains.

    Returns:
        Name to loss.

    Raises:
        OptionsError: A loss that cannot be built.
    """
    losses: dict[str, nn.Module] = {}
    for name, (path, options) in loss_blocks(train).items():
        filled = fill_encoder(options, network, path)
        with under(path):
            loss = build_loss(filled)
            if isinstance(loss, StepLoss):
                loss.check_model(model)
            losses[name] = loss.to(device)
    return losses


def evaluate(
    losses: Mapping[str, nn.Module], outputs: Outputs, batch: Batch, chosen: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Call the losses of a step.

    A loss of images is taken of the final image and of every stage's, and summed.

    Args:
        losses: Name to loss, as :func:`build_losses` gives them.
        outputs: Of the network.
        batch: What the network was given.
        chosen: Names of those to call; None: all.

    Returns:
        Name in the log to scalar.
    """
    found: dict[str, Tensor] = {}
    for name, loss in losses.items():
        if chosen is not None and name not in chosen:
            continue
        if isinstance(loss, StepLoss):
            values: tuple[Tensor | None, ...] = (loss.of_step(outputs, batch),)
        else:
            values = _summed([loss(image, batch.target) for image in outputs.images])
        names = LOGGED.get(name, (f'l_{name}', f'l_{name}_style'))
        found.update({key: value for key, value in zip(names, values) if value is not None})
    return found


def _summed(results: list[Any]) -> tuple[Tensor | None, ...]:
    """Add what a loss gave for each image: a scalar, or BasicSR's pair of perceptual and style loss."""
    parts = [result if isinstance(result, tuple) else (result,) for result in results]
    return tuple(None if column[0] is None else torch.stack(column).sum() for column in zip(*parts))
