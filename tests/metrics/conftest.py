"""Weights and images of the metrics' tests."""

import numpy as np
import pytest
from skimage import data

from tests.metrics.random_weights import write_weights


@pytest.fixture(scope='session')
def torch_home(tmp_path_factory):
    home = tmp_path_factory.mktemp('torch_home')
    write_weights(home)
    return home


@pytest.fixture
def weights(torch_home, monkeypatch):
    """The folder that torch's downloads would lie in."""
    monkeypatch.setenv('TORCH_HOME', str(torch_home))
    return torch_home / 'hub' / 'checkpoints'


@pytest.fixture(scope='session')
def photos():
    """Two photographs of 64x96 and noisier and noisier copies, BGR, uint8."""
    return [noisy(image[100:164, 150:246, ::-1]) for image in (data.astronaut(), data.coffee())]


def noisy(clean):
    noise = np.random.default_rng(0).normal(0, 1, clean.shape)
    copies = [np.clip(clean + sigma * noise, 0, 255).round().astype(np.uint8) for sigma in (5, 15, 50)]
    return [np.ascontiguousarray(clean), *copies]
