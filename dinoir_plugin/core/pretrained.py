"""Weights for a network from any file: the one way into a run, its checks and restoring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError

if TYPE_CHECKING:
    from torch import Tensor, nn

# whole: names and shapes are the network's. start: or those of its backbone. part: whatever fits, if anything does
Extent = Literal['whole', 'start', 'part']


class Weights(NamedTuple):
    """Hold weights for a network.

    Attributes:
        state: Tensors by the network's names, some of them or all.
        words: What is to be said about them.
        trained_with: What the file says of its training; None in files of others.
        place: Where in the file they stand.
    """

    state: dict[str, Tensor]
    words: str
    trained_with: network_file.Description | None
    place: str


def read_network(path: str | Path, option: str) -> network_file.NetworkFile:
    """Read a file as :func:`~dinoir_plugin.core.network_file.read` does.

    Raises:
        OptionsError: It cannot be read; ``option`` is the path of the option that names it.
    """
    try:
        return network_file.read(path)
    except FileError as error:
        remedy = '' if Path(path).expanduser().exists() else 'The path is relative to the working directory'
        raise OptionsError(option, str(error), remedy) from error


def weights_for(network: nn.Module, path: str | Path, key: str | None, extent: Extent, option: str) -> Weights:
    """Read the weights that a file has for a network; it is not changed.

    Args:
        network: What they are for.
        path: The file; see :func:`~dinoir_plugin.core.network_file.read`.
        key: Where in the file they stand; see :meth:`~dinoir_plugin.core.network_file.NetworkFile.choose`.
        extent: How much has to fit.
        option: Path of the option that names the file, for errors.

    Raises:
        OptionsError: The file cannot be read, or does not fit.
    """
    file = read_network(path, option)
    name, found = file.choose(key, network)
    if not found.state:
        reason = found.problem() or 'holds nothing'
        raise OptionsError(option, f"nothing in '{path}' fits network_g: it {reason}", 'Give the options of the '
                           'network that it was made for, or the file for this one')
    # in a file of ours the parts of a training stand apart; in others they may stand beside the network
    problem = '' if extent == 'part' else found.problem(extent == 'start', outside=file.description is None)
    if problem:
        remedy = 'Give the options it was trained with'
        if option.startswith('path.pretrain_network'):
            remedy += f', or {option.replace("pretrain_network", "strict_load").removeprefix("path.")}: false'
        raise OptionsError(option, f"'{path}' does not fit network_g: it {problem}", remedy)
    place = (file.where if name == 'params' else name) or 'a plain state dict'
    return Weights(found.state, f'{place}, {found.words()}', file.description, place)
