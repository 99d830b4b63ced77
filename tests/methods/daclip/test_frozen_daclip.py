"""The frozen DA-CLIP: one in a process, its views, and the files that it takes."""

import pickle

import pytest
import torch
from torch.testing import assert_close

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.daclip import DACLIP
from dinoir_plugin.methods.daclip.encoder import frozen_daclip
from dinoir_plugin.methods.daclip.preprocessing import clip_image

TINY = {
    'embed_dim': 16, 'image_size': 32, 'patch_size': 8, 'vision_width': 32, 'vision_layers': 2, 'head_width': 8,
    'context_length': 12, 'vocab_size': 50, 'text_width': 16, 'text_heads': 2, 'text_layers': 1,
}  # fmt: skip


@pytest.fixture(scope='module')
def released(tmp_path_factory):
    """Write a file as the authors' training does, with random numbers."""
    torch.manual_seed(3)
    network = DACLIP(**TINY)
    for parameter in network.parameters():
        parameter.data.normal_(std=0.2)
    path = tmp_path_factory.mktemp('daclip') / 'daclip_tiny.pt'
    state = {f'module.{name}': value for name, value in network.state_dict().items()}
    torch.save({'epoch': 3, 'name': 'x', 'state_dict': state, 'optimizer': {}}, path)
    return network.eval(), path


def test_it_encodes_as_the_network_of_the_file_does(released):
    network, path = released
    encoder = frozen_daclip(weights=str(path), model_args=TINY)
    image = torch.rand(2, 3, 40, 60)
    with torch.no_grad():
        expected = network.encode_image(clip_image(image, 32))
    for given, wanted in zip(encoder(image), expected):
        assert_close(given, wanted)
    assert encoder.width == 16


def test_it_is_one_in_a_process(released):
    _, path = released
    encoder = frozen_daclip(weights=str(path), model_args=TINY)
    assert frozen_daclip(weights=str(path), model_args=TINY) is encoder
    assert pickle.loads(pickle.dumps(encoder)) is encoder
    assert frozen_daclip(weights=str(path), model_args=TINY, views=2) is not encoder


def test_views_are_squares_along_the_longer_side(released):
    _, path = released
    one, three = (frozen_daclip(weights=str(path), model_args=TINY, views=views) for views in (1, 3))
    image = torch.rand(2, 3, 96, 32)
    squares = [one(image[..., top : top + 32, :]) for top in (0, 32, 64)]
    for number, given in enumerate(three(image)):
        assert_close(given, sum(square[number] for square in squares) / 3)


@pytest.mark.parametrize(('options', 'said'), [
    ({'name': 'ViT-B-16'}, "name: there is no CLIP 'ViT-B-16'"),
    ({'model_args': {'depth': 3}}, 'model_args: DACLIP does not take'),
    ({'name': 'ViT-L-14', 'weights': 'auto', 'model_args': TINY}, "no weights of 'ViT-L-14' can be downloaded"),
    ({'weights': '/nowhere/daclip.pt', 'model_args': TINY}, '/nowhere/daclip.pt is missing'),
])  # fmt: skip
def test_errors_say_what_to_do(options, said):
    with pytest.raises(OptionsError) as error:
        frozen_daclip(**options)
    assert said in str(error.value)


def test_a_file_of_another_clip_is_refused(released):
    _, path = released
    with pytest.raises(OptionsError) as error:
        frozen_daclip(weights=str(path), model_args={**TINY, 'vision_width': 64})
    assert "holds no DA-CLIP 'ViT-B-32': it has" in str(error.value)
