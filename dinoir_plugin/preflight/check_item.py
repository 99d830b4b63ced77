"""What the checks of a run are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from basicsr.utils.registry import LOSS_REGISTRY

from dinoir_plugin.core.construct import registered
from dinoir_plugin.models.restoration_model import DINOIRModel


class CheckItem(NamedTuple):
    """One part of a run that can be checked by itself.

    Attributes:
        path: The options that it is about.
        check: Raises an OptionsError where something is wrong; returns a few words on what it looked at. Those of
            `network_parts` take the network.
    """

    path: str
    check: Callable[..., str]


def is_ours(opt: Mapping[str, Any]) -> bool:
    """Whether our model drives the run; what a model of somebody else's reads from its options is not known here."""
    return opt.get('model_type') == DINOIRModel.__name__


def check_loss(options: dict[str, Any], path: str, check: Callable[..., Any]) -> str:
    """Look at a loss's options with ``check``, which builds it or only looks at its arguments."""
    kind = registered(LOSS_REGISTRY, options, path)
    del options['type']
    check(kind, path, options)
    return str(kind.__name__)
