"""A network written by the package's own export and run by the program that reads the file."""

import io

import onnxruntime
import pytest
import torch

from dinoir_plugin.core import network_file
from dinoir_plugin.restore.export import export

# torch 2.11 cannot trace the sizes of these, or not name what BasicSR's own keep beside their weights
LATELY = ('EDSR', 'IRCNN25', 'RCAN', 'SwinIR', 'TransWeather', 'TransWeatherBase')
TOO_OLD = tuple(map(int, torch.__version__.split('.')[:2])) < (2, 14)
needs_torch_2_14 = pytest.mark.skipif(TOO_OLD, reason='exports of this network are known to work from torch 2.14 on')


def exported(net, options, folder, ending):
    """From a network, the options that build it and an ending to a function from image to image.

    The export itself compares the file with the network and refuses one that differs by more than 1e-4.
    """
    checkpoint, out = folder / 'net.pth', folder / f'net.{ending}'
    about = network_file.Description(options)
    network_file.write(checkpoint, network_file.NetworkFile({'params': net.state_dict()}, about))
    export(checkpoint, out)
    if ending == 'onnx':
        session = onnxruntime.InferenceSession(out)
        return lambda image: torch.from_numpy(session.run(None, {'lq': image.numpy()})[0])
    return torch.export.load(io.BytesIO(out.read_bytes())).module()
