"""ONNX and torch.export: the encoder inside, any size, the network's own results."""

import io

import numpy as np
import onnxruntime
import pytest
import torch

import basicsr  # noqa: F401, isort: skip - fills the registries
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.core import network_file
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.restore.building import build
from dinoir_plugin.restore.export import export

SIZES = [(32, 33), (77, 130), (128, 96), (518, 518)]


def load(path):
    if path.suffix == '.onnx':
        session = onnxruntime.InferenceSession(path)
        return lambda image: torch.from_numpy(session.run(None, {'lq': image.numpy()})[0])
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


@pytest.mark.parametrize(
    ('name', 'ending'),
    [('guided', 'onnx'), ('nafnet', 'onnx'), ('convolutional encoder', 'onnx'), ('convolutional encoder', 'pt2')],
)
def test_exported_networks_give_the_same_for_any_size(checkpoint, tmp_path, ending, name, capsys):
    if name != 'guided':
        torch.manual_seed(0)
        options = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}
        net = NAFNet(**{key: value for key, value in options.items() if key != 'type'})
        if name == 'convolutional encoder':
            encoder = {'name': 'tf_efficientnet_lite0', 'weights': 'random', 'layers': {'shallow': 1, 'deep': 3}}
            guided = {'backbone': options, 'encoder': encoder, 'guide_at': ['middle_blks'], 'psf': {'dim': 8}}
            net, options = DINOIRArch(**guided), {'type': 'DINOIRArch', **guided}
        for parameter in net.parameters():
            parameter.data.normal_(0, 0.2)
        checkpoint = tmp_path / 'naf.pth'
        states = {'params': net.state_dict()}
        network_file.write(checkpoint, network_file.NetworkFile(states, network_file.Description(options)))
    out = tmp_path / f'net.{ending}'
    assert 'differs from the network by at most' in export(checkpoint, out)
    said = capsys.readouterr().err
    assert 'dinoir: tracing the network, which takes about a minute' in said
    assert ('dinoir: writing it as ONNX' in said) == (ending == 'onnx')
    net, run = build(checkpoint).network, load(out)
    for size in SIZES:
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            np.testing.assert_allclose(run(image).detach().numpy(), net(image).numpy(), atol=2e-4)
    with pytest.raises(ValueError, match='is there already: --overwrite'):
        export(checkpoint, out)


def test_other_endings_and_networks_are_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"cannot write '\.onx'; did you mean '\.onnx'"):
        export(checkpoint, tmp_path / 'net.onx')
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_written_anew_alone_or_with_the_options_of_their_network(checkpoint, tmp_path):
    assert export(checkpoint, tmp_path / 'one.safetensors').endswith(' MB')
    one, original = network_file.read(tmp_path / 'one.safetensors'), network_file.read(checkpoint)
    assert one.description == original.description and set(one.states) == {'params', 'params_ema'}
    with pytest.raises(ValueError, match='--encoder-weights: the weights of the encoder are in no checkpoint'):
        export(checkpoint, tmp_path / 'two.pth', encoder_weights='random')
    network = original.description.network
    for number, weights in enumerate((None, 'random')):
        out = tmp_path / f'{number}.pth'
        export(checkpoint, out, weights, network)
        about = network_file.read(out).description
        assert about.network['backbone'] == network['backbone'] and about.iteration is None
        assert set(about.encoders) == {'encoder'}
    export(checkpoint, tmp_path / '0.pth', overwrite=True)
    other = {**network, 'psf': {'dim': 8}}
    with pytest.raises(ValueError, match='does not fit these options: the file'):
        export(checkpoint, tmp_path / 'three.pth', options=other)
    assert not (tmp_path / 'three.pth').exists()
