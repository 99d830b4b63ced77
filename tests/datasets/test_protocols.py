"""Protocols as they stand in an options file."""

import pytest
import yaml

from dinoir_plugin.datasets.protocols import PROTOCOLS, fragment


@pytest.mark.parametrize('name', PROTOCOLS)
def test_keys_come_in_the_order_in_which_people_read_them(name, tmp_path):
    train = yaml.safe_load(fragment(PROTOCOLS[name], tmp_path))['datasets']['train']
    order = ['type', *(['sampling'] if PROTOCOLS[name].proportional else []), 'tasks']
    assert list(train) == order and list(train['tasks']) == list(PROTOCOLS[name].tasks)
    assert all(next(iter(block)) == 'dataroot_gt' for block in train['tasks'].values())
