"""`dinoir check` holds checkpoints against the network, and what a run writes against the disk."""

from types import SimpleNamespace

import pytest
import torch

from dinoir_plugin.core.console import BAD, GOOD
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.preflight import disk


def test_checkpoints_and_options_for_testing(project, check, checkpoint):
    torch.save({'params': {'x': torch.ones(1)}}, project.images / 'other.pth')
    project.options['datasets'] = {'test': project.options['datasets']['val']}
    del project.options['train'], project.options['logger'], project.options['val']['val_freq']
    project.options['path'] = {'pretrain_network_g': str(project.images / 'other.pth')}
    result = check()
    assert result.status == BAD
    assert result.rows['schema'] == ('ok', 'keys and kinds of values, for testing')
    assert result.rows['path.pretrain_network_g'][0] == 'error'
    assert "other.pth' fits network_g: it lacks " in result.out
    assert 'disk space' not in result.rows
    project.options['path'] = {}
    assert check().status == GOOD
    project.options['network_g'] = 'from_checkpoint'
    result = check()
    assert result.status == BAD and 'network_g: from_checkpoint takes the network from' in result.out
    project.options['path'] = {'pretrain_network_g': str(checkpoint)}
    result = check('--force_yml', 'network_g:encoder:weights=nowhere.pth')
    assert result.status == BAD and result.rows['network_g'][0] == 'error' and 'nowhere.pth' in result.out
    result = check()
    assert result.status == GOOD, result.out
    assert result.rows['network_g: from_checkpoint'] == ('ok', str(checkpoint))
    assert result.rows['network_g'][1].startswith('DINOIRArch, ')


def test_disk_space_from_the_built_network(project, network_options, tmp_path, monkeypatch, check):
    network = DINOIRArch(**network_options)
    size = sum(parameter.numel() * 4 for parameter in network.parameters() if parameter.requires_grad)
    sgd = {'total_iter': 100, 'optim_g': {'type': 'SGD', 'lr': 0.1}}
    saves = {'save_checkpoint_freq': 30}
    assert disk.estimate(sgd, saves, network) == (3, size, size)
    assert disk.estimate(sgd, {**saves, 'keep_last': 2}, network).checkpoints == 2
    adam = {'total_iter': 100, 'ema_decay': 0.9, 'optim_g': {'type': 'AdamW', 'lr': 0.1}}
    assert disk.estimate(adam, saves, network).total == pytest.approx(3 * 4 * size + 2 * size, rel=1e-2)
    # as large as what BasicSR writes
    torch.save({'params': network.state_dict(), 'params_ema': network.state_dict()}, tmp_path / 'x.pth')
    assert (tmp_path / 'x.pth').stat().st_size == pytest.approx(disk.estimate(adam, saves, network).latest / 2, rel=0.2)
    monkeypatch.setattr(disk.shutil, 'disk_usage', lambda path: SimpleNamespace(free=1000))
    project.options['path']['experiments_root'] = str(tmp_path / 'not' / 'there')
    result = check()
    assert result.status == GOOD
    assert result.rows['disk space'] == ('warning', result.rows['disk space'][1])
    assert f'but {tmp_path} has 0.0 MB free' in result.out
