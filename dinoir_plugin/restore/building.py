"""Build the network of a checkpoint file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import basicsr  # noqa: F401 - fills the registries
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dinoir_plugin.archs.released import network_of
from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.construct import build_registered, registered_class
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.written import plain
from dinoir_plugin.core.yaml_options import read_options
from dinoir_plugin.guidance.trained_with import other_encoder

ENCODER_KEY = 'weights'  # what an encoder's block of options has
HERE = '--encoder-weights FILE, in Python encoder_weights='


class Built(NamedTuple):
    """Hold a network with its trained weights, and the file that they came from."""

    network: nn.Module
    file: network_file.NetworkFile


def build(
    checkpoint: str | Path,
    params: str | None = None,
    encoder_weights: str | Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Built:
    """Build the network that a file describes, with its weights, on the CPU, ready for use.

    Args:
        checkpoint: ``.pth`` or ``.safetensors``.
        params: ``params`` or ``params_ema``; None: the EMA weights, where there are any.
        encoder_weights: Where the frozen encoder's weights are here, in place of where they were in training; by the
            encoder's key in ``network_g`` where there are several.
        options: What stands under ``network_g``, for files that do not say it themselves. Without it such a file is
            taken for what its authors release, where it has just those tensors, with a warning.

    Raises:
        FileError: The file cannot be read, or holds nothing of that name.
        OptionsError: The network cannot be built, its encoder's weights are not to be had or are others than in
            training, or the file's do not fit.
    """
    file = network_file.read(checkpoint)
    if params is not None and params not in file.states:
        raise FileError(f"{checkpoint}: has no '{params}', only {', '.join(file.states)}")
    network = build_network(checkpoint, file, encoder_weights, options)
    _, found = file.choose(params or 'params_ema', network)
    problem = found.problem(outside=file.description is None)
    if problem:
        raise OptionsError('network_g', f'{checkpoint} does not fit it: the file {problem}',
                           'Give the options that it was trained with')
    network.load_state_dict(found.state)
    return Built(network.eval().requires_grad_(False), file)


def build_network(
    checkpoint: str | Path,
    file: network_file.NetworkFile,
    encoder_weights: str | Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the network without its weights; arguments and errors as :func:`build`."""
    network_g = options or network_of(file, checkpoint)
    if network_g is None:
        raise OptionsError('network_g', f'{checkpoint} does not say which network it is for, as it was not written by '
                           'this plugin', 'Give its options: --options FILE.yml, in Python network={...}')
    arguments = dict(network_g)
    purpose = getattr(registered_class(ARCH_REGISTRY, arguments.get('type')), 'purpose', '')
    if purpose:
        raise OptionsError('network_g.type', f'the network of {checkpoint} restores no images: {purpose}')
    if encoder_weights is not None:
        arguments.update(_with_weights(arguments, encoder_weights, checkpoint))
    try:
        network: nn.Module = build_registered(ARCH_REGISTRY, arguments, 'network_g')
    except OptionsError as error:
        if not error.path.endswith('.weights'):
            raise
        remedy = f'{error.remedy}. Or give the file here: {HERE}'
        raise OptionsError(error.path, error.problem, remedy) from error
    other = other_encoder(network, arguments, file.description, checkpoint, 'Give those')
    if other and other.path.endswith(f'.{ENCODER_KEY}'):
        raise OptionsError(other.path, other.problem, f'{other.remedy}: {HERE}')
    if other:
        raise other
    return network


def _with_weights(
    arguments: Mapping[str, Any], weights: str | Mapping[str, str], checkpoint: str | Path
) -> dict[str, Any]:
    """Give the encoders' options with other places of their weights: one for all, or by the encoder's key."""
    blocks = {key: value for key, value in arguments.items() if isinstance(value, Mapping) and ENCODER_KEY in value}
    chosen = dict.fromkeys(blocks, weights) if isinstance(weights, str) else dict(weights)
    for key in chosen or ('encoder',):
        if key not in blocks:
            raise OptionsError(f'network_g.{key}', f'{checkpoint} has no encoder to give weights to')
    return {key: {**blocks[key], ENCODER_KEY: place} for key, place in chosen.items()}


def network_options(path: str | Path) -> dict[str, Any]:
    """Read what stands under ``network_g`` in an options file, without running code from it.

    Raises:
        OptionsError: There is none.
    """
    try:
        content = read_options(str(path))
    except SystemExit as error:
        raise OptionsError('--options', str(error)) from error
    network = plain(content.get('network_g'))
    if not isinstance(network, dict):
        raise OptionsError('--options', f'expected a block network_g in {path}')
    return network
