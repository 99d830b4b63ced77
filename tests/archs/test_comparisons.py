"""The options files of the networks that papers compare with: what they say is what the classes take."""

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from dinoir_plugin.core.construct import build_registered, check_arguments, registered
from dinoir_plugin.core.options_files import CHECKOUT
from dinoir_plugin.preflight.schema import check_schema

FILES = {'transweather_all4': 38_052_078, 'wgws_all4_stage1': 4_988_895, 'wgws_all4_stage2': None}


@pytest.mark.parametrize('name', FILES)
def test_an_options_file_builds_its_network_and_losses(name):
    options = yaml.safe_load((CHECKOUT / 'comparisons' / f'{name}.yml').read_text())
    check_schema(options, is_train=True)
    assert options['name'] == name
    with torch.device('meta'):
        net = build_registered(ARCH_REGISTRY, options['network_g'], 'network_g')
    assert FILES[name] in (None, sum(p.numel() for p in net.parameters()))
    for key, entry in options['train'].items():
        if key.endswith('_opt'):
            arguments = {option: value for option, value in entry.items() if option != 'type'}
            check_arguments(registered(LOSS_REGISTRY, entry, key), key, arguments)
    tasks = list(options['datasets']['train']['tasks'])
    assert list(options['network_g'].get('weathers', tasks)) == tasks
