"""Tiny models and real images that several tests use."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from dinoir_plugin.core import network_file
from dinoir_plugin.testing.project import TINY_BACKBONE, TINY_ENCODER, TINY_NETWORK, Project, make_images

# each worker of pytest-xdist has one core
if 'PYTEST_XDIST_WORKER' in os.environ:
    torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / 'golden'


@pytest.fixture(scope='session')
def golden():
    """Reads a file of tests/golden: its parameters as a state dict, and a function from key to tensor."""

    def read(name):
        arrays = np.load(GOLDEN / f'{name}.npz')
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        return {key.removeprefix('param/'): t for key, t in tensors.items() if key.startswith('param/')}, tensors

    return read


@pytest.fixture
def encoder_options():
    return copy.deepcopy(TINY_ENCODER)


@pytest.fixture
def backbone_options():
    return copy.deepcopy(TINY_BACKBONE)


@pytest.fixture
def network_options():
    return copy.deepcopy(TINY_NETWORK)


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """See :func:`dinoir_plugin.testing.project.make_images`."""
    return make_images(tmp_path_factory.mktemp('images'))


@pytest.fixture
def make_project(tmp_path, images, network_options):
    def make(suffix=''):
        return Project(tmp_path, images, network_options, suffix)

    return make


@pytest.fixture
def tiny_run(network_options):
    """From the folders of clean and rainy images to options that BasicSR trains with."""

    def options(clean, rain):
        tasks = {
            'denoise': {'dataroot_gt': str(clean), 'degradation': {'type': 'gaussian_noise', 'sigma': [15, 50]}},
            'derain': {'dataroot_gt': str(clean), 'dataroot_lq': str(rain)},
        }
        return {
            'name': 'tiny',
            'model_type': 'DINOIRModel',
            'num_gpu': 0,
            'datasets': {
                'train': {
                    'name': 'both',
                    'type': 'MixedDegradationDataset',
                    'tasks': tasks,
                    'gt_size': 32,
                    'batch_size_per_gpu': 2,
                    'num_worker_per_gpu': 0,
                },
            },
            'network_g': {'type': 'DINOIRArch', **network_options},
            'path': {'resume_state': None},
            'train': {
                'total_iter': 2,
                'optim_g': {'type': 'AdamW', 'lr': 1e-3},
                'scheduler': {'type': 'MultiStepLR', 'milestones': [1]},
                'pixel_opt': {'type': 'L1Loss'},
                'dpc_opt': {'type': 'DPCLoss', 'layers': [1, 3]},
            },
            'val': {
                'val_freq': 1,
                'save_img': False,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
            },
            'logger': {'print_freq': 1, 'save_checkpoint_freq': 1, 'use_tb_logger': False},
        }

    return options


@pytest.fixture(scope='session')
def network():
    """A guided Restormer, its weights so strong that wrong guidance, a wrong tile or a wrong channel shows."""
    import basicsr  # noqa: F401 - fills the registries

    from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch

    torch.manual_seed(0)
    net = DINOIRArch(**copy.deepcopy(TINY_NETWORK)).eval()
    for parameter in net.parameters():
        parameter.data.mul_(1.3)
    return net


@pytest.fixture(scope='session')
def checkpoint(network, tmp_path_factory):
    """A file with :func:`network`'s weights as the averaged ones, and zeros as those that were trained."""
    path = tmp_path_factory.mktemp('checkpoint') / 'net_g_4.pth'
    states = {'params': {k: torch.zeros_like(v) for k, v in network.state_dict().items()},
              'params_ema': network.state_dict()}
    options = {'type': 'DINOIRArch', **TINY_NETWORK}
    about = network_file.Description(
        options, {'encoder': network.encoder.fingerprint}, name='tiny', iteration=4, tasks=['rain', 'fog'],
        patch_size=32,
    )  # fmt: skip
    network_file.write(path, network_file.NetworkFile(states, about))
    return path


@pytest.fixture(scope='session')
def photo():
    """(100, 120, 3), uint8, RGB."""
    return np.ascontiguousarray(data.astronaut()[:100, 100:220])


def relative_error(value, reference):
    return ((value - reference).norm() / reference.norm()).item()
