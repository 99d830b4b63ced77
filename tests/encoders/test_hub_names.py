"""DINOv2 by torch.hub's names."""

import pytest
import timm

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.frozen import frozen_encoder
from dinoir_plugin.encoders.names import HUB, timm_name


def test_timm_has_each_of_them():
    assert len(HUB) == 8 and HUB['dinov2_vits14_reg'] == 'vit_small_patch14_reg4_dinov2'
    assert all(timm.is_model(name) for name in HUB.values())
    assert timm_name('vit_small_patch14_dinov2') == 'vit_small_patch14_dinov2'


def test_both_names_are_one_encoder():
    tiny = {'embed_dim': 48, 'depth': 2, 'num_heads': 3}
    ours, theirs = (frozen_encoder(name, 'random', tiny) for name in ('vit_small_patch14_dinov2', 'dinov2_vits14'))
    assert ours is theirs and theirs.name == 'vit_small_patch14_dinov2'


def test_an_unknown_name_is_not_answered_with_all_of_timm():
    with pytest.raises(OptionsError, match=r"timm has no model 'zzzz'") as caught:
        frozen_encoder('zzzz', 'random')
    assert len(str(caught.value)) < 500
