"""Which checkpoints there are, and which of them a run goes on from."""

import pytest

from dinoir_plugin.core.training_state import checkpoints


@pytest.fixture
def opt(tmp_path):
    for name in ('models', 'states'):
        (tmp_path / name).mkdir()
    folders = {'models': str(tmp_path / 'models'), 'training_states': str(tmp_path / 'states')}
    return {'network_g': {}, 'network_d': {}, 'path': folders}


def test_the_newest_checkpoint_comes_first_by_number_not_by_name(opt, tmp_path):
    for iteration in (9, 100, 10):
        (tmp_path / 'states' / f'{iteration}.state').touch()
    for name in ('net_g_10.pth', 'net_g_20.pth', 'net_g_latest.pth', 'other_30.pth', '.net_g_40.pth.part'):
        (tmp_path / 'models' / name).touch()
    (tmp_path / 'states' / 'kept.state').touch()
    assert [checkpoint.iteration for checkpoint in checkpoints(opt)] == [100, 20, 10, 9]


def test_a_checkpoint_is_its_state_and_the_networks_that_are_read(opt, tmp_path):
    (tmp_path / 'states' / '7.state').touch()
    (checkpoint,) = checkpoints(opt)
    assert checkpoint.state == tmp_path / 'states' / '7.state'
    assert [path.name for path in checkpoint.networks] == ['net_g_7.pth', 'net_d_7.pth']
    opt['path']['ignore_resume_networks'] = ['network_d']
    (checkpoint,) = checkpoints(opt)
    assert [path.name for path in checkpoint.networks] == ['net_g_7.pth']
