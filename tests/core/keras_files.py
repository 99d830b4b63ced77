"""Files of Keras 2 as its own ``save`` writes them."""

from __future__ import annotations

import torch

# what the layers of the golden BRDNet call their weights, in Keras's order, and PyTorch's names
NAMES = {'kernel': 'weight', 'gamma': 'weight', 'bias': 'bias', 'beta': 'bias',
         'running_mean': 'running_mean', 'running_std': 'running_var'}  # fmt: skip


def from_keras(params):
    """``conv2d_1/kernel`` (height, width, in, out) to ``conv2d_1.weight`` (out, in, height, width), and so on."""
    found = {}
    for key, value in params.items():
        layer, name = key.split('/')
        found[f'{layer}.{NAMES[name]}'] = value.permute(3, 2, 0, 1) if value.dim() == 4 else value
    return found


def write_keras(path, params, group='model_weights', shift=0, order=None):
    """Write ``<layer>_<number>/<name>`` to tensor; numbers are raised by ``shift``, layers stand in ``order``."""
    import h5py

    layers: dict[str, list[tuple[str, torch.Tensor]]] = {}
    for key, value in params.items():
        layer, name = key.split('/')
        kind, _, number = layer.rpartition('_')
        layers.setdefault(f'{kind}_{int(number) + shift}', []).append((name, value))
    with h5py.File(path, 'w') as file:
        root = file.create_group(group) if group else file
        names = sorted(layers, key=order)
        # layers without weights stand among the others
        root.attrs['layer_names'] = [name.encode() for name in ('input_1', *names)]
        root.create_group('input_1').attrs['weight_names'] = []
        for layer in names:
            weights = sorted(layers[layer], key=lambda entry: list(NAMES).index(entry[0]))
            root.create_group(layer).attrs['weight_names'] = [f'{layer}/{name}:0'.encode() for name, _ in weights]
            for name, value in weights:
                root[layer].create_dataset(f'{layer}/{name}:0', data=value.numpy())
