"""Tiny models and real pictures that several tests use."""

from pathlib import Path

import numpy as np
import pytest
import torch

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
    """A DINOv2 of four narrow blocks with random weights."""
    return {
        'name': 'vit_small_patch14_dinov2',
        'weights': 'random',
        'layers': {'shallow': 0, 'medium': 1, 'deep': 3},
        'model_args': {'embed_dim': 48, 'depth': 4, 'num_heads': 3, 'init_values': 1.0},
    }


@pytest.fixture
def backbone_options():
    return {
        'type': 'Restormer',
        'dim': 8,
        'num_blocks': [1, 1, 1, 1],
        'num_refinement_blocks': 1,
        'heads': [1, 2, 4, 8],
    }


@pytest.fixture
def network_options(encoder_options, backbone_options):
    return {
        'backbone': backbone_options,
        'encoder': encoder_options,
        'guide_at': ['encoder_level*', 'latent', 'decoder_level*'],
        'psf': {'dim': 16},
    }


def relative_error(value, reference):
    return ((value - reference).norm() / reference.norm()).item()
