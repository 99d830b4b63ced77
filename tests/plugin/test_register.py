"""Names under which the plugin's classes are found, and those that a user may give to classes of their own."""

import pytest
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
from torch import nn

from dinoir_plugin.methods.dinoir import DINOIRArch

SHARED = ('Restormer', 'NAFNet', 'PromptIR', 'DnCNN', 'FFDNet')


def test_names_that_nobody_else_has_are_registered_as_they_are():
    assert 'DINOIRArch' in ARCH_REGISTRY and 'MixedDegradationDataset' in DATASET_REGISTRY
    assert 'DPCLoss' in LOSS_REGISTRY and {'DINOIRModel', 'RestorationModel'} <= set(MODEL_REGISTRY.keys())


@pytest.mark.parametrize('name', SHARED)
def test_names_that_others_may_have_are_found_and_left_free(name, of_a_user):
    assert name not in ARCH_REGISTRY
    ours = ARCH_REGISTRY.get(name)
    assert ours.__name__ == name and ours.__module__.startswith('dinoir_plugin.archs.')
    theirs = type(name, (nn.Module,), {'__module__': 'mine'})
    of_a_user(ARCH_REGISTRY, theirs)
    assert ARCH_REGISTRY.get(name) is theirs and ARCH_REGISTRY.get(f'{name}_basicsr') is ours


def test_a_users_class_wins_for_networks_and_for_backbones(of_a_user, network_options):
    class Restormer(nn.Sequential):
        def __init__(self, width):
            super().__init__(nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1))

    ours = build_network({'type': 'Restormer', **network_options['backbone']})
    of_a_user(ARCH_REGISTRY, Restormer)
    assert type(build_network({'type': 'Restormer', 'width': 4})) is Restormer
    guided = DINOIRArch(**{**network_options, 'backbone': {'type': 'Restormer', 'width': 4}, 'guide_at': ['0']})
    assert type(guided.backbone) is Restormer
    network_options['backbone']['type'] = 'Restormer_basicsr'
    assert type(DINOIRArch(**network_options).backbone) is type(ours) is not Restormer
