"""The model that comes with the package: what restores without a checkpoint, its card, and a copy without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dinoir_plugin import Restorer
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.cli import main
from dinoir_plugin.core import network_file
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.image_file import read_image
from dinoir_plugin.restore import starter

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A tiny model in half precision in the package's place, and a photo in the folder that we stand in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(starter, 'FILE', tmp_path / 'package' / 'starter.safetensors')
    monkeypatch.setattr(starter, 'CARD', tmp_path / 'package' / 'card.md')
    starter.FILE.parent.mkdir()
    starter.CARD.write_text('# The card\n')
    state = {name: value.half() for name, value in NAFNet(**NETWORK).state_dict().items()}
    about = network_file.Description({'type': 'NAFNet', **NETWORK}, iteration=7)
    network_file.write(starter.FILE, network_file.NetworkFile({'params': state}, about))


@pytest.fixture
def image(photo):
    Image.fromarray(photo).save('photo.png')
    return photo


def test_without_a_checkpoint_it_restores_and_says_so(model, image, capsys):
    assert main(['restore', 'photo.png', 'out.png', '--strength', '0.5', '--quiet']) == 0
    said = capsys.readouterr().err
    assert 'the starter model that comes with the package: NAFNet, 7 iterations; dinoir info starter' in said
    expected = Restorer.from_checkpoint(starter.FILE, strength=0.5).restore(image)
    np.testing.assert_array_equal(read_image(Path('out.png')).pixels, expected)


def test_it_computes_in_single_precision(model):
    assert {str(value.dtype) for value in Restorer.from_checkpoint().network.state_dict().values()} == {'torch.float32'}


def test_strength_blends_with_the_image(model, image):
    restored = {strength: Restorer.from_checkpoint(strength=strength).restore(image / 255) for strength in (0, 0.25, 1)}
    np.testing.assert_allclose(restored[0], image / 255, atol=1e-6)
    np.testing.assert_allclose(restored[0.25], 0.25 * restored[1] + 0.75 * image / 255, atol=1e-6)
    assert np.abs(restored[1] - image / 255).max() > 0.01
    with pytest.raises(OptionsError, match=r'strength: expected a number from 0 to 1, got 1\.5'):
        Restorer.from_checkpoint(strength=1.5)


def test_info_prints_the_card(model, capsys):
    assert main(['info', 'starter']) == 0
    said = capsys.readouterr().out
    assert said.startswith('# The card\n') and 'NAFNet' in said and '7 iterations' in said


def test_a_copy_without_it_says_what_to_do(model, image, capsys):
    starter.FILE.unlink()
    for words in (['restore', 'photo.png', 'out.png'], ['info', 'starter']):
        assert main(words) == 2
        assert 'this copy of the package has no starter model. Give a network of your own' in capsys.readouterr().err


def test_a_file_of_that_name_comes_first(model, checkpoint):
    Path('starter').write_bytes(checkpoint.read_bytes())
    assert Restorer.from_checkpoint('starter').description.name == 'tiny'


def test_other_commands_know_it_by_its_name(model):
    assert main(['export', 'net.pth', '--checkpoint', 'starter']) == 0
    assert network_file.read('net.pth').description.iteration == 7


def test_the_packages_own_model_is_small_and_has_a_card():
    file = network_file.read(starter.FILE)
    (state,) = file.states.values()
    assert starter.FILE.stat().st_size <= 12_000_000
    assert sum(value.numel() for value in state.values()) <= 6_000_000
    iterations = f'{file.description.iteration} iterations'
    for words in ('Trained on', 'research use', 'Not good for', '| CBSD68, noise 25 |', iterations):
        assert words in starter.card()
