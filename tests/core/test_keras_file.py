"""Keras's files through the one door for weights."""

import sys

import pytest
import torch

from dinoir_plugin import Restorer
from dinoir_plugin.archs.brdnet_arch import BRDNet
from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from tests.core.keras_files import from_keras, write_keras


def without_h5py(monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)


@pytest.mark.parametrize(('group', 'shift'), [('model_weights', 0), ('model_weights', 35), ('', 2)])
def test_a_release_is_read_whatever_its_layers_are_numbered_from(golden, tmp_path, group, shift):
    pytest.importorskip('h5py')
    params, tensors = golden('brdnet')
    # by name, so neither in the order of the numbers nor in that of the network
    write_keras(tmp_path / 'model_50.h5', params, group, shift)
    state = network_file.read(tmp_path / 'model_50.h5').states['params']
    expected = from_keras(params)
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    restorer = Restorer.from_checkpoint(tmp_path / 'model_50.h5', network={'type': 'BRDNet', 'nc': 8})
    image = tensors['input/0'].permute(0, 3, 1, 2)[0]
    restored = restorer.restore(image.clamp(0, 1))
    net = BRDNet(nc=8).eval()
    net.load_state_dict(expected)
    with torch.no_grad():
        torch.testing.assert_close(restored, net(image.clamp(0, 1)[None])[0].clamp(0, 1), rtol=0, atol=1e-5)


def test_what_is_wrong_is_said(golden, tmp_path, monkeypatch):
    h5py = pytest.importorskip('h5py')
    path = tmp_path / 'net.h5'
    with pytest.raises(FileError, match='is missing'):
        network_file.read(path)
    path.write_bytes(b'nothing of the kind')
    with pytest.raises(FileError, match=r'net\.h5 is no HDF5 file with weights of Keras'):
        network_file.read(path)
    with h5py.File(path, 'w') as file:
        file.create_group('other')
    with pytest.raises(FileError, match=r'net\.h5 is no HDF5 file with weights of Keras'):
        network_file.read(path)
    names = ('kernel', 'bias', 'gamma', 'beta', 'running_mean')
    write_keras(path, {f'lstm_1/{name}': torch.zeros(2) for name in names})
    with pytest.raises(FileError, match='expected convolutions and norms, but lstm_1 has 5 weights'):
        network_file.read(path)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    without_h5py(monkeypatch)
    with pytest.raises(FileError, match=r"need h5py: pip install 'dinoir_plugin\[keras\]'"):
        network_file.read(tmp_path / 'net.h5')
