"""`network_g: from_checkpoint` takes the network from the file that is tested."""

import pytest
import torch

from dinoir_plugin.archs.ircnn_arch import IRCNN
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.preflight.from_checkpoint import with_network


def written(path):
    return {'name': 'x', 'network_g': 'from_checkpoint', 'path': {'pretrain_network_g': path and str(path)}}


def test_a_file_of_ours_says_it_itself(checkpoint, network_options):
    options = written(checkpoint)
    assert with_network(options) == {**options, 'network_g': {'type': 'DINOIRArch', **network_options}}
    assert options['network_g'] == 'from_checkpoint'
    plain = {'network_g': {'type': 'NAFNet'}, 'path': {'pretrain_network_g': 'nowhere.pth'}}
    assert with_network(plain) == plain


def test_an_authors_file_is_recognised_with_a_warning(tmp_path):
    torch.save({'state_dict': IRCNN().state_dict()}, tmp_path / 'x.pth')
    with pytest.warns(UserWarning, match=r'x\.pth does not say .* taken for IRCNN for one level of noise'):
        assert with_network(written(tmp_path / 'x.pth'))['network_g'] == {'type': 'IRCNN'}


@pytest.mark.parametrize(
    ('file', 'said'),
    [
        (None, 'network_g: from_checkpoint takes the network from the file of path.pretrain_network_g, and none is '),
        ('gone.pth', 'path.pretrain_network_g: gone.pth is missing. The path is relative to the working directory'),
        ('other.pth', 'network_g: other.pth does not say which network it is for, as it was not written by this '),
    ],
)
def test_what_is_missing_is_said(file, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'params': {'x': torch.ones(1)}}, 'other.pth')
    with pytest.raises(OptionsError) as caught:
        with_network(written(file))
    assert str(caught.value).startswith(said)
