"""Compare a network's frozen encoders with those it was trained with, of which a checkpoint has the fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.weights import same_weights
from dinoir_plugin.guidance.guided_arch import encoders_of


def other_encoder(
    network: nn.Module, trained_with: Mapping[str, Sequence[float]], checkpoint: str | Path, remedy: str
) -> OptionsError | None:
    """Look for an encoder with other weights than at training.

    Args:
        network: With its encoders.
        trained_with: Name of an encoder to its fingerprint at training; empty where the file does not say it.
        checkpoint: The file, for the error.
        remedy: What to do, for the error.

    Returns:
        What is wrong (path ``network_g.<name>.weights``), None where nothing is.
    """
    for name, encoder in encoders_of(network).items():
        if name in trained_with and not same_weights(encoder.fingerprint, trained_with[name]):
            return OptionsError(
                f'network_g.{name}.weights',
                f"the weights of '{encoder.name}' ({encoder.weights}) are others than {checkpoint} was trained with",
                remedy,
            )
    return None
