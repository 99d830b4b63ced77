"""Weights of Keras in its HDF5 files, as a state dict of PyTorch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.atomic_files import FileError

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = ('.h5', '.hdf5')
# of a layer's weights, in the order in which Keras lists them
NAMES = ('weight', 'bias', 'running_mean', 'running_var')
LAYER = re.compile(r'(.*?)(?:_(\d+))?')


def read_keras(path: Path) -> dict[str, Tensor]:
    """Read the weights of convolutions and norms from a file of ``model.save`` or ``save_weights`` (Keras 2).

    Keras numbers the layers of a kind through a session, so a file's first convolution may be ``conv2d_36``. Here each
    kind starts from 1: ``conv2d_1.weight``, ``conv2d_1.bias``, ``batch_renormalization_1.weight`` (gamma), ``.bias``
    (beta), ``.running_mean``, ``.running_var`` and ``.num_batches_tracked`` (0). Kernels become (out, in, height,
    width).

    Raises:
        FileError: The package h5py is missing, or the file cannot be read or holds something else.
    """
    import torch

    try:
        import h5py
    except ImportError as error:
        raise FileError(f"{path}: files of Keras need h5py: pip install 'dinoir_plugin[keras]'") from error
    if not path.is_file():
        raise FileError(f'{path} is missing')
    try:
        with h5py.File(path, 'r') as file:
            layers = dict(_layers(file['model_weights'] if 'model_weights' in file else file))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise FileError(f'{path} is no HDF5 file with weights of Keras ({error})') from error
    state = {}
    for name, weights in _renumbered(layers).items():
        if len(weights) > len(NAMES):
            raise FileError(f'{path}: expected convolutions and norms, but {name} has {len(weights)} weights')
        state.update({f'{name}.{part}': _tensor(weight) for part, weight in zip(NAMES, weights)})
        if len(weights) == len(NAMES):
            # not in the file: Keras begins its running averages anew, too
            state[f'{name}.num_batches_tracked'] = torch.tensor(0)
    return state


def _layers(root: Any) -> Iterator[tuple[str, list[Any]]]:
    """Give the layers that have weights: name, and arrays in Keras's order."""
    for layer in _names(root, 'layer_names'):
        names = _names(root[layer], 'weight_names')
        if names:
            yield layer, [root[layer][name][()] for name in names]


def _names(group: Any, key: str) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[key]]


def _renumbered(layers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Number the layers of each kind from 1, in the order of their numbers."""
    numbered = sorted(((*_split(name), weights) for name, weights in layers.items()), key=lambda entry: entry[:2])
    counts: dict[str, int] = {}
    result = {}
    for kind, _, weights in numbered:
        counts[kind] = counts.get(kind, 0) + 1
        result[f'{kind}_{counts[kind]}'] = weights
    return result


def _split(name: str) -> tuple[str, int]:
    """Split ``conv2d_12`` into kind and number; the first layer of a kind may have none."""
    found = LAYER.fullmatch(name)
    return (found[1], int(found[2] or 0)) if found else (name, 0)


def _tensor(weight: Any) -> Tensor:
    import torch

    tensor = torch.from_numpy(weight)
    return tensor.permute(3, 2, 0, 1).contiguous() if tensor.dim() == 4 else tensor
