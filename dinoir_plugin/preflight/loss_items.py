"""Building each loss for trial, those that share the network's encoder with it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from basicsr.losses.basic_loss import PerceptualLoss
from basicsr.utils.registry import DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
from torch import nn

from dinoir_plugin.core.construct import check_arguments, construct, registered, registered_class
from dinoir_plugin.core.errors import OptionsError, under
from dinoir_plugin.models.losses import StepLoss, fill_encoder
from dinoir_plugin.models.options import loss_blocks
from dinoir_plugin.preflight.check_item import CheckItem


def loss_items(opt: Mapping[str, Any], with_network: bool) -> list[CheckItem]:
    """List the checks of losses.

    Args:
        opt: The parsed options of a training run.
        with_network: Whether those that take an encoder are wanted, whose checks take the network; or all others.
    """
    data = (opt.get('datasets') or {}).get('train') or {}
    model = registered_class(MODEL_REGISTRY, opt['model_type'])
    return [
        CheckItem(path, partial(_check_loss, options, path, data, model))
        for path, options in loss_blocks(opt.get('train') or {}).values()
        if _takes_encoder(options) == with_network
    ]


def _takes_encoder(options: Mapping[str, Any]) -> bool:
    kind = registered_class(LOSS_REGISTRY, options.get('type'))
    return kind is not None and 'encoder' in inspect.signature(kind).parameters


def _check_loss(
    options: Mapping[str, Any], path: str, data: Mapping[str, Any], model: Any, network: nn.Module | None = None
) -> str:
    kind = registered(LOSS_REGISTRY, options, path)
    _check_needs(kind, path, data)
    if network is not None:
        options = fill_encoder(options, network, path)
    # the perceptual loss downloads VGG when built: its arguments are checked, itself it is built by the trainer
    check = check_arguments if isinstance(kind, type) and issubclass(kind, PerceptualLoss) else construct
    loss = check(kind, path, {key: value for key, value in options.items() if key != 'type'})
    if isinstance(loss, StepLoss):
        with under(path):
            loss.check_model(model)
    return str(kind.__name__)


def _check_needs(kind: Any, path: str, data: Mapping[str, Any]) -> None:
    """Hold what a loss needs of an item against what the training set provides, where that says so."""
    provider = registered_class(DATASET_REGISTRY, data.get('type'))
    provided: frozenset[str] | None = getattr(provider, 'provides', None)
    if provided is None:
        return
    switches: Mapping[str, str] = getattr(provider, 'provides_with', {})
    needs: frozenset[str] = getattr(kind, 'needs', frozenset())
    missing = {key for key in needs - provided if not (key in switches and data.get(switches[key]))}
    if missing:
        problem = f'{kind.__name__} needs {", ".join(sorted(missing))}, which {data["type"]} does not provide'
        options = [f'datasets.train.{switches[key]}' for key in sorted(missing) if key in switches]
        remedy = f'Give {", ".join(options)}' if options else f'Its items have {", ".join(sorted(provided))}'
        raise OptionsError(f'{path}.type', problem, remedy)
