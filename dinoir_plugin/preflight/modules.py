"""What ``dinoir modules`` says: the modules of a backbone that can be guided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.options_files import options_file, options_names
from dinoir_plugin.core.yaml_options import read_options
from dinoir_plugin.guidance.places import gathered, guidable, outermost
from dinoir_plugin.preflight.reading import is_training
from dinoir_plugin.preflight.values import run_values

HEADS = ('module', 'channels', 'scale', 'modules')


def modules(network: str, everything: bool) -> str:
    """List the modules of a backbone whose output can be guided, in the order of the network.

    Args:
        network: An options file, of which the backbone of ``network_g`` or ``network_g`` itself is taken; or the
            registered name of a network, with its default arguments.
        everything: Whether modules count that are more than one level inside of another one that can be guided.

    Raises:
        OptionsError: The network cannot be built, or takes no images.
        ValueError: There is no such file.
        SystemExit: The file cannot be read.
    """
    options, path = _block(network)
    backbone = build_registered(ARCH_REGISTRY, options, path)
    features = guidable(backbone)
    shown = list(features) if everything else outermost(features, levels=2)
    places = gathered({name: features[name] for name in shown}, backbone)
    rows = [HEADS, *((place.pattern, str(place.feature.channels), str(place.feature.scale), str(place.modules))
                     for place in places)]  # fmt: skip
    width = max(len(row[0]) for row in rows)
    lines = [f'{name:{width}}  {channels:>8}  {scale:>5}  {count:>7}' for name, channels, scale, count in rows]
    left = len(features) - len(shown)
    return '\n'.join([*lines, *([f'\n{left} more are inside of these; --all lists them'] if left else [])])


def _block(network: str) -> tuple[Mapping[str, Any], str]:
    """Give the options of the backbone, and their path."""
    named = network.removesuffix('.yml') in options_names()
    if not (named or Path(network).is_file()):
        if network.endswith(('.yml', '.yaml')):
            raise ValueError(f'there is no options file {network}')
        return {'type': network}, 'network_g'
    written = read_options(network if Path(network).is_file() else str(options_file(network)))
    options = run_values(written, is_training(written)).get('network_g') or {}
    if isinstance(options.get('backbone'), Mapping):
        return options['backbone'], 'network_g.backbone'
    return options, 'network_g'
