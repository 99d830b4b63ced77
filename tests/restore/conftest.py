"""A small network with strong random weights in a checkpoint, and images for it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import basicsr  # noqa: F401, isort: skip - fills the registries
from dinoir_plugin.core import network_file
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from tests.conftest import TINY_NETWORK


@pytest.fixture(autouse=True, scope='package')
def one_thread():
    """Here as in the processes that tests start: sums over several threads differ in the last bit."""
    before, environment = torch.get_num_threads(), os.environ.get('OMP_NUM_THREADS')
    torch.set_num_threads(1)
    os.environ['OMP_NUM_THREADS'] = '1'
    yield
    torch.set_num_threads(before)
    os.environ.pop('OMP_NUM_THREADS')
    if environment is not None:
        os.environ['OMP_NUM_THREADS'] = environment


@pytest.fixture(scope='session')
def network():
    torch.manual_seed(0)
    net = DINOIRArch(**TINY_NETWORK).eval()
    # so strong that wrong guidance, a wrong tile or a wrong channel shows
    for parameter in net.parameters():
        parameter.data.mul_(1.3)
    return net


@pytest.fixture(scope='session')
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'net_g_4.pth'
    states = {'params': {k: torch.zeros_like(v) for k, v in network.state_dict().items()},
              'params_ema': network.state_dict()}
    options = {'type': 'DINOIRArch', **TINY_NETWORK}
    about = network_file.Description(
        options, network.encoder.fingerprint, name='tiny', iteration=4, tasks=['rain', 'fog'], patch_size=32
    )
    network_file.write(path, network_file.NetworkFile(states, about))
    return path


@pytest.fixture(scope='session')
def photo():
    """(100, 120, 3), uint8, RGB."""
    return np.ascontiguousarray(data.astronaut()[:100, 100:220])


@pytest.fixture
def folder(tmp_path, photo):
    """Three images, one of them in a folder of its own, and a file that is none."""
    (tmp_path / 'in' / 'sub').mkdir(parents=True)
    for name, image in (('a.png', photo), ('b.jpg', photo[:64]), ('sub/c.png', photo[::-1])):
        Image.fromarray(image).save(tmp_path / 'in' / name)
    (tmp_path / 'in' / 'notes.txt').write_text('bread, milk')
    return tmp_path / 'in'


def dinoir(*words, **options):
    """Run the command line in a process of its own."""
    arguments = [sys.executable, '-m', 'dinoir_plugin', *map(str, words)]
    done = subprocess.run(arguments, capture_output=True, text=True, **options)
    assert 'Traceback' not in done.stderr, done.stderr
    return done
