"""Compare a network with what a checkpoint says it was trained with: its frozen encoders, and its other options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.network_file import Description
from dinoir_plugin.core.written import plain
from dinoir_plugin.encoders.weights import same_weights
from dinoir_plugin.guidance.guided_arch import encoders_of

LAYERS, WEIGHTS = 'layers', 'weights'
NOT_GIVEN = 'not given'
SHOWN = 5  # options of a list


def other_encoder(
    network: nn.Module,
    options: Mapping[str, Any],
    trained_with: Description | None,
    checkpoint: str | Path,
    remedy: str,
) -> OptionsError | None:
    """Look for an encoder with other weights than at training, or of which other layers are read.

    Args:
        network: With its encoders.
        options: What it was built from, as under ``network_g``.
        trained_with: What the file says of itself; None where it says nothing.
        checkpoint: The file, for the error.
        remedy: What to do, for the error.

    Returns:
        What is wrong (path ``network_g.<name>.weights`` or ``.layers``), None where nothing is.
    """
    if trained_with is None:
        return None
    for name, encoder in encoders_of(network).items():
        prints = trained_with.encoders.get(name)
        if prints is not None and not same_weights(encoder.fingerprint, prints):
            return OptionsError(
                f'network_g.{name}.{WEIGHTS}',
                f"the weights of '{encoder.name}' ({encoder.weights}) are others than {checkpoint} was trained with",
                remedy,
            )
        # layers of a transformer are all of one width: no tensor of the file tells them apart
        own, then = (_of_file((block.get(name) or {}).get(LAYERS)) for block in (options, trained_with.network))
        if then is not None and _text(own) != _text(then):
            problem = f'{checkpoint} was trained with {_text(then)}, and these are {_text(own)}'
            return OptionsError(f'network_g.{name}.{LAYERS}', problem, remedy)
    return None


def other_options(options: Mapping[str, Any], trained_with: Description | None, checkpoint: str | Path) -> str:
    """Say what else ``network_g`` has otherwise than at training; empty where nothing is.

    A network may be meant to be used otherwise than it was trained, and what is left out may be what was written
    there, so this is no error. Where encoders' weights are read from is not compared: fingerprints tell more.
    """
    if trained_with is None or options.get('type') != trained_with.network.get('type'):
        return ''
    own, then = (dict(_flat(_of_file(block), '')) for block in (options, trained_with.network))
    changes = [
        f'{path}: {_text(own.get(path))} here, {_text(then.get(path))} there'
        for path in dict.fromkeys([*own, *then])
        if own.get(path) != then.get(path)
    ]
    more = f'; and {len(changes) - SHOWN} more' if len(changes) > SHOWN else ''
    listed = '; '.join(changes[:SHOWN]) + more
    return f'network_g has other options than {checkpoint} was trained with. {listed}' if changes else ''


def _of_file(value: Any) -> Any:
    """Give options as a checkpoint keeps them, which is in JSON: with text for keys, and lists."""
    if isinstance(value, Mapping):
        return {str(key): _of_file(entry) for key, entry in value.items()}
    return [_of_file(entry) for entry in value] if isinstance(value, (list, tuple)) else plain(value)


def _flat(options: Any, path: str) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{path}{key}.')
        elif key != WEIGHTS and value is not None:
            yield f'{path}{key}', value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return '{' + ', '.join(f'{key}: {entry}' for key, entry in value.items()) + '}'
    return NOT_GIVEN if value is None else str(value)
