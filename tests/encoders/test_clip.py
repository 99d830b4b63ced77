import sys

import pytest
import timm
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.clip import CLIP, VisionTower
from dinoir_plugin.encoders.clip_tokenizer import tokenize

# from OpenCLIP's names to timm's
NAMES = {
    'transformer.resblocks.': 'blocks.', 'ln_1': 'norm1', 'attn.in_proj_': 'attn.qkv.', 'attn.out_proj': 'attn.proj',
    'ln_2': 'norm2', 'mlp.c_fc': 'mlp.fc1', 'mlp.c_proj': 'mlp.fc2', 'ln_pre': 'norm_pre', 'ln_post': 'norm',
    'conv1': 'patch_embed.proj', 'class_embedding': 'cls_token', 'positional_embedding': 'pos_embed',
}  # fmt: skip
TEXT = {'vocab_size': 50, 'context_length': 9, 'text_width': 16, 'text_heads': 2, 'text_layers': 2}
IMAGE = {'embed_dim': 12, 'image_size': 8, 'patch_size': 4, 'vision_width': 16, 'vision_layers': 1, 'head_width': 8}


@pytest.mark.parametrize(
    ('name', 'quick_gelu'),
    [('vit_base_patch32_clip_224.laion2b', False), ('vit_base_patch32_clip_quickgelu_224.openai', True)],
)
def test_the_image_tower_is_timms(name, quick_gelu):
    torch.manual_seed(0)
    tower = VisionTower(embed_dim=12, image_size=32, patch_size=8, width=48, layers=2, head_width=16,
                        quick_gelu=quick_gelu)  # fmt: skip
    theirs = timm.create_model(name, img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=12)
    state = {'head.weight': tower.proj.T, 'head.bias': torch.zeros(12)}
    for name, value in tower.state_dict().items():
        for own, other in NAMES.items():
            name = name.replace(own, other)
        state[name] = value.expand_as(theirs.state_dict()[name]) if name != 'proj' else value
    del state['proj']
    theirs.load_state_dict(state, strict=True)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(tower(image), theirs.eval()(image), rtol=1e-5, atol=1e-5)


def test_a_text_ends_where_its_largest_token_stands():
    torch.manual_seed(0)
    clip = CLIP(**IMAGE, **TEXT)
    with torch.no_grad():
        text = clip.encode_text(torch.tensor([[48, 3, 4, 49, 0, 0], [48, 5, 49, 0, 0, 0]]))
        assert text.shape == (2, 12)
        # what stands behind the end has no effect, what stands before has
        torch.testing.assert_close(clip.encode_text(torch.tensor([[48, 3, 4, 49, 7, 8]])), text[:1])
        assert not torch.allclose(clip.encode_text(torch.tensor([[48, 3, 5, 49]])), text[:1])


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        ({'patch_size': 3}, r'patch_size: expected a divisor of image_size \(8\), got 3'),
        ({'head_width': 5}, r'head_width: expected a divisor of vision_width \(16\), got 5'),
        ({'text_heads': 3}, r'text_heads: expected a divisor of text_width \(16\), got 3'),
    ],
)
def test_what_does_not_divide_is_refused(change, problem):
    with pytest.raises(OptionsError, match=problem):
        CLIP(**{**IMAGE, **TEXT, **change})


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(OptionsError, match=r"captions: tokens of a text need .*pip install 'dinoir_plugin\[clip\]'"):
        tokenize(['a dog'], 'captions')
