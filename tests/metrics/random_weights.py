"""Weight files of the networks of LPIPS, DISTS and FID: the right names and shapes, random numbers.

Layers that no test looks at are one number each, spread out. The others are scaled as for training: with the default
numbers features vanish, and every comparison holds.
"""

import torch
import torchvision
from torch import nn

INCEPTION = 'weights-inception-2015-12-05-6726825d.pth'
TRUNKS = {'alexnet-owt-7be5be79.pth': 'alexnet', 'vgg16-397923af.pth': 'vgg16'}
# of Inception; what comes before 64 features
FIRST = ('Conv2d_1a', 'Conv2d_2a', 'Conv2d_2b')


def write_weights(home):
    """Write the three files where torch looks for them if `home` is its TORCH_HOME."""
    folder = home / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, arch in TRUNKS.items():
            with torch.device('meta'):
                network = getattr(torchvision.models, arch)()
            network.features.to_empty(device='cpu')
            torch.save(scaled(network, lambda key: key.startswith('features')), folder / name)
        torch.save(scaled(skeleton(folder), lambda key: key.startswith(FIRST)), folder / INCEPTION)
    return folder


def scaled(network, wanted):
    state = {}
    for key, value in network.state_dict().items():
        if not wanted(key):
            state[key] = torch.zeros((), dtype=value.dtype).expand(value.shape)
        elif value.ndim == 4:
            state[key] = nn.init.kaiming_normal_(torch.empty_like(value), nonlinearity='relu')
        else:  # of a batch norm: scales and variances are one
            state[key] = torch.full_like(value, key.endswith(('weight', 'var')))
    return state


def skeleton(folder):
    """Inception as torch-fidelity builds it; it insists on reading a file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unread(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args, **kwargs):
            pass

    empty = folder / 'empty.pth'
    torch.save({}, empty)
    network = Unread('inception-v3-compat', ['64'], str(empty))
    empty.unlink()
    return network
