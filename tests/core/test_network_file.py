"""Checkpoints: what the trainer writes can be rebuilt without options, and nothing in a file is run."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from basicsr.models.sr_model import SRModel
from safetensors.torch import save_file

from dinoir_plugin import Restorer
from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError, save_atomic
from dinoir_plugin.core.errors import OptionsError


class Mischief:
    def __reduce__(self):
        return os.mkdir, ('mischief',)


def test_a_trained_network_comes_back_without_options_and_in_basicsr(make_project):
    project = make_project()
    project.train['total_iter'] = 2
    project.run()
    path = project.models / 'net_g_latest.pth'
    about = network_file.read(path).description
    assert about.network['type'] == 'DINOIRArch' and about.iteration == 2 and about.patch_size == 32
    assert set(about.tasks) == {'denoise', 'deblur', 'derain', 'dehaze'}
    restorer = Restorer.from_checkpoint(path)
    image = np.random.default_rng(0).random((40, 40, 3)).astype(np.float32)
    restored = restorer.restore(image)

    twin = Restorer.from_checkpoint(path, params='params')
    host = SRModel.__new__(SRModel)
    host.opt, host.device = {'dist': False, 'num_gpu': 0}, torch.device('cpu')
    host.load_network(twin.network, str(path), True, 'params_ema')
    np.testing.assert_array_equal(twin.restore(image), restored)


def test_safetensors_and_pth_carry_the_same(checkpoint, tmp_path, photo):
    first = network_file.read(checkpoint)
    network_file.write(tmp_path / 'net.safetensors', first)
    second = network_file.read(tmp_path / 'net.safetensors')
    network_file.write(tmp_path / 'net.pth', second)
    third = network_file.read(tmp_path / 'net.pth')
    assert first.description == second.description == third.description
    for name, value in first.states['params_ema'].items():
        assert torch.equal(value, second.states['params_ema'][name])
        assert torch.equal(value, third.states['params_ema'][name])
    restored = [Restorer.from_checkpoint(path).restore(photo) for path in (checkpoint, tmp_path / 'net.safetensors')]
    np.testing.assert_array_equal(*restored)
    with pytest.raises(ValueError, match=r'expected an ending \.pth or \.safetensors'):
        network_file.write(tmp_path / 'net.bin', first)


@pytest.mark.parametrize('place', ['params', 'dinoir_plugin', 'whole'])
def test_code_in_a_file_is_not_run(checkpoint, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    content = Mischief() if place == 'whole' else {**content, place: Mischief()}
    torch.save(content, 'evil.pth')
    (tmp_path / 'plain.pth').write_bytes(pickle.dumps(content))
    for name in ('evil.pth', 'plain.pth'):
        with pytest.raises(FileError, match='not a whole file of tensors'):
            Restorer.from_checkpoint(name)
    assert not (tmp_path / 'mischief').exists()


@pytest.mark.parametrize(('name', 'said'), [('net.onnx', 'a graph of ONNX'), ('net.pt2', 'a graph of torch.export')])
def test_what_was_exported_is_no_checkpoint(tmp_path, name, said):
    (tmp_path / name).write_bytes(b'\x08\x07')
    with pytest.raises(FileError, match=rf'holds no checkpoint: it is {said} for other programs\. Give the one that'):
        network_file.read(tmp_path / name)


def test_files_that_are_no_networks_are_named(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'text.pth').write_text('hello')
    (tmp_path / 'text.safetensors').write_text('hello')
    save_atomic(tmp_path / 'list.pth', [1, 2])
    save_atomic(tmp_path / 'other.pth', {'params': {'a': 1}})
    with zipfile.ZipFile(tmp_path / 'zip.pth', 'w') as archive:
        archive.writestr('a', 'b')
    save_file({'params.a': torch.ones(1)}, tmp_path / 'strange.safetensors', {'dinoir_plugin': '{"network": 3}'})
    save_file({'params.a': torch.ones(1)}, tmp_path / 'newer.safetensors', {'dinoir_plugin': '{"much": 3}'})
    names = [path.name for path in tmp_path.iterdir()]
    for name in (*names, 'missing.pth', 'missing.safetensors', '.'):
        with pytest.raises(FileError, match=name):
            Restorer.from_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    'change',
    [
        {'tasks': 5}, {'tasks': [1]}, {'encoder': 'abcd'}, {'encoder': ['x']}, {'iteration': 'many'}, {'network': []},
        {'network': {'type': ['a']}}, {'network': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4}},
        {'network': {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3}}, {'network': {'type': 'SpyNet'}},
        {'network': {**{'type': 'DINOIRArch'}, 'encoder': 'x'}},
    ],
)  # fmt: skip
def test_strange_descriptions_are_refused(checkpoint, tmp_path, change):
    file = network_file.read(checkpoint)
    about = {**vars(file.description), **change}
    kind = about['network'].get('type') if isinstance(about['network'], dict) else None
    states = file.states
    if kind in ('VGGStyleDiscriminator', 'RRDBNet', 'SpyNet'):
        from basicsr.archs import build_network

        states = {'params': build_network(dict(about['network'])).state_dict()}
    save_atomic(tmp_path / 'net.pth', {**states, network_file.KEY: json.dumps(about)})
    with pytest.raises((FileError, OptionsError)):
        Restorer.from_checkpoint(tmp_path / 'net.pth')


def test_an_encoder_is_not_read_from_where_a_file_says(checkpoint, tmp_path):
    about = json.loads(network_file.read(checkpoint).description.text())
    about['network']['encoder']['model_args']['checkpoint_path'] = str(tmp_path / 'evil.pth')
    save_atomic(tmp_path / 'net.pth', {'params': {'a': torch.ones(1)}, network_file.KEY: json.dumps(about)})
    with pytest.raises(OptionsError, match=r'model_args\.checkpoint_path: it says where weights come from'):
        Restorer.from_checkpoint(tmp_path / 'net.pth')


def test_files_of_others_need_options_and_take_them(checkpoint, tmp_path, network, photo):
    backbone = network.backbone.state_dict()
    plain = {name: value for name, value in backbone.items() if 'guidance' not in name}
    save_atomic(tmp_path / 'restormer.pth', {'params': {f'module.{k}': v for k, v in plain.items()}})
    save_atomic(tmp_path / 'bare.pth', plain)
    options = network_file.read(checkpoint).description.network['backbone']
    with pytest.raises(OptionsError, match='--options'):
        Restorer.from_checkpoint(tmp_path / 'bare.pth')
    paths = [tmp_path / f'{name}.pth' for name in ('restormer', 'bare')]
    one, other = (Restorer.from_checkpoint(path, network=options).restore(photo) for path in paths)
    np.testing.assert_array_equal(one, other)
    with pytest.raises(OptionsError, match=r"does not fit it: the file lacks 'skip_conv.weight'"):
        Restorer.from_checkpoint(tmp_path / 'bare.pth', network={**options, 'dual_pixel_task': True})


def test_an_encoder_with_other_weights_is_noticed(checkpoint, tmp_path, network):
    # the encoder's weights in a file of their own, as they were and changed
    model = network.encoder._net.model
    torch.save(model.state_dict(), tmp_path / 'same.pth')
    changed = {k: v + torch.randn_like(v) * v.std() if v.numel() > 1 else v for k, v in model.state_dict().items()}
    torch.save(changed, tmp_path / 'other.pth')
    torch.save({k: v.half() for k, v in model.state_dict().items()}, tmp_path / 'half.pth')
    for name in ('same', 'half'):
        Restorer.from_checkpoint(checkpoint, encoder_weights=str(tmp_path / f'{name}.pth'))
    with pytest.raises(OptionsError, match=r'are others than .* was trained with'):
        Restorer.from_checkpoint(checkpoint, encoder_weights=str(tmp_path / 'other.pth'))
    with pytest.raises(OptionsError, match=r'encoder_weights='):
        Restorer.from_checkpoint(checkpoint, encoder_weights=str(tmp_path / 'missing.pth'))
