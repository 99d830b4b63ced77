"""Files of the authors are recognised by their tensors, whatever stands around them."""

import pytest
import torch

from dinoir_plugin.archs.released import all_released, recognise
from dinoir_plugin.core.network_file import NetworkFile


@pytest.mark.parametrize('released', all_released(), ids=lambda released: released.name)
@pytest.mark.parametrize('prefix', ['', 'module.net.'])
def test_each_is_recognised_as_itself(released, prefix):
    state = {f'{prefix}{name}': value for name, value in released.build().state_dict().items()}
    assert prefix + released.key in state
    assert recognise(NetworkFile({'params': state}, None)) is released


def test_what_has_other_tensors_is_not():
    network = {released.name: released for released in all_released()}['IRCNN for one level of noise']
    state = network.build().state_dict()
    for change in (
        {'another': torch.zeros(1)},
        {'model.0.bias': torch.zeros(32)},
        {f'1.{name}': value for name, value in state.items()},
    ):
        assert recognise(NetworkFile({'params': {**state, **change}}, None)) is None
    assert recognise(NetworkFile({'params': {'weight': torch.zeros(1)}}, None)) is None
