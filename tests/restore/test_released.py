"""A file of the authors, which says nothing of itself, is named and used."""

import pytest
import torch

from dinoir_plugin import Restorer
from dinoir_plugin.archs.ircnn_arch import IRCNN
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.restore.info import describe


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return IRCNN().state_dict()


def test_info_names_the_network_and_gives_its_options(weights, tmp_path):
    torch.save({'state_dict': {f'module.{name}': value for name, value in weights.items()}}, tmp_path / 'x.pth')
    lines = describe(tmp_path / 'x.pth').splitlines()
    assert '  It does not say which network it is for; its tensors are those of IRCNN for one level of noise.' in lines
    assert lines[-1] == 'network_g: {type: IRCNN}'


def test_it_restores_without_options_and_says_what_it_is_taken_for(weights, tmp_path):
    torch.save(weights, tmp_path / 'x.pth')
    image = torch.rand(3, 24, 32)
    with pytest.warns(UserWarning, match=r'x\.pth does not say .* taken for IRCNN for one level of noise'):
        restorer = Restorer.from_checkpoint(tmp_path / 'x.pth', device='cpu')
    network = IRCNN()
    network.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(restorer.restore(image), network(image[None])[0].clamp(0, 1), rtol=0, atol=1e-6)
    del weights['model.0.bias']
    torch.save(weights, tmp_path / 'y.pth')
    with pytest.raises(OptionsError, match='does not say which network it is for'):
        Restorer.from_checkpoint(tmp_path / 'y.pth', device='cpu')
