"""Tiny models and real images that several tests use."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.project import Project, make_images

# each worker of pytest-xdist has one core
if 'PYTEST_XDIST_WORKER' in os.environ:
    torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / 'golden'
# a DINOv2 of four narrow blocks with random weights
TINY_ENCODER = {
    'name': 'vit_small_patch14_dinov2',
    'weights': 'random',
    'layers': {'shallow': 0, 'medium': 1, 'deep': 3},
    'model_args': {'embed_dim': 48, 'depth': 4, 'num_heads': 3, 'init_values': 1.0},
}
TINY_BACKBONE = {
    'type': 'Restormer',
    'dim': 8,
    'num_blocks': [1, 1, 1, 1],
    'num_refinement_blocks': 1,
    'heads': [1, 2, 4, 8],
}
TINY_NETWORK = {
    'backbone': TINY_BACKBONE,
    'encoder': TINY_ENCODER,
    'guide_at': ['encoder_level*', 'latent', 'decoder_level*'],
    'psf': {'dim': 16},
}


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
    """See :func:`tests.project.make_images`."""
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


def relative_error(value, reference):
    return ((value - reference).norm() / reference.norm()).item()
