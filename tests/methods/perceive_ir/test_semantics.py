import re

import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.frozen import frozen_encoder
from dinoir_plugin.methods.perceive_ir.semantics import resized, semantic_maps, semantic_vectors
from tests.methods.perceive_ir.largest_error import error

NAME = 'vit_base_patch14_dinov2'
TINY = {'embed_dim': 24, 'depth': 12, 'num_heads': 2, 'mlp_ratio': 2, 'init_values': 1.0}
# from Hugging Face's names to timm's
NAMES = [
    (r'embeddings\.cls_token', 'cls_token'), (r'embeddings\.position_embeddings', 'pos_embed'),
    (r'embeddings\.patch_embeddings\.projection', 'patch_embed.proj'), (r'encoder\.layer\.', 'blocks.'),
    (r'attention\.output\.dense', 'attn.proj'), (r'layer_scale(\d)\.lambda1', r'ls\1.gamma'),
    (r'layernorm\.', 'norm.'),
]  # fmt: skip


def timms(params):
    """Translate the parameters of Hugging Face's DINOv2."""
    state = {}
    for key, value in params.items():
        if key.startswith('encoder.') and '.attention.attention.' not in key:
            for theirs, ours in NAMES:
                key = re.sub(theirs, ours, key)
            state[key.removeprefix('encoder.')] = value
    for block in range(TINY['depth']):
        before = f'encoder.encoder.layer.{block}.attention.attention.'
        for kind in ('weight', 'bias'):
            parts = [params[f'{before}{part}.{kind}'] for part in ('query', 'key', 'value')]
            state[f'blocks.{block}.attn.qkv.{kind}'] = torch.cat(parts)
    return state


@pytest.fixture
def random_encoder():
    return frozen_encoder(NAME, 'random', {**TINY, 'img_size': 56})


def test_reproduces_the_authors_vectors(golden, tmp_path):
    params, tensors = golden('perceive_ir/dino')
    torch.save(timms(params), tmp_path / 'dino.pth')
    encoder = frozen_encoder(NAME, str(tmp_path / 'dino.pth'), {**TINY, 'img_size': 518})
    for case in ('up', 'down'):
        vectors = semantic_vectors(encoder, tensors[f'input/{case}_image'])
        for number, vector in enumerate(vectors.unbind(dim=1), start=1):
            assert error(vector, tensors[f'output/{case}_f{number}']) < 1e-5
    # the offset of Meta's code shows
    other = encoder.class_tokens(resized(tensors['input/up_image']), [11])[11]
    assert 1e-4 < error(other, tensors['output/up_f4']) < 1e-1


def test_class_tokens_are_those_of_the_features(random_encoder):
    image = torch.rand(2, 3, 56, 70)
    seen = {}
    model = random_encoder._net.model
    handles = [
        model.blocks[layer].register_forward_hook(lambda _, inputs, output, layer=layer: seen.update({layer: output}))
        for layer in (2, 5)
    ]
    tokens = random_encoder.class_tokens(image, (5, 2))
    for layer, token in tokens.items():
        assert torch.equal(token, seen[layer][:, 0])
    for handle in handles:
        handle.remove()
    half = random_encoder.class_tokens(image.bfloat16(), (2,))[2]
    assert half.dtype == torch.float32


def test_maps_are_the_patch_tokens_of_the_whole_image(random_encoder):
    image = torch.rand(1, 3, 60, 90)
    maps = semantic_maps(random_encoder, image, (2, 5))
    assert maps.shape == (1, 2, 24, 16, 16)
    torch.testing.assert_close(maps[:, 1], random_encoder(resized(image), (5,))[5])


def test_an_image_is_squashed_or_its_centre_cut_out():
    image = torch.rand(1, 3, 60, 90)
    assert resized(image).shape == resized(image, 'crop').shape == (1, 3, 224, 224)
    middle = torch.nn.functional.interpolate(image, (224, 336), mode='bicubic')[..., 56:280]
    torch.testing.assert_close(resized(image, 'crop'), middle)
    square = image[..., :60]
    torch.testing.assert_close(resized(square, 'crop'), resized(square))


def test_an_encoder_without_a_class_token_is_refused():
    encoder = frozen_encoder('convnext_tiny.dinov3_lvd1689m', 'random',
                             {'depths': [1, 1, 1, 1], 'dims': [8, 8, 8, 8]})  # fmt: skip
    with pytest.raises(OptionsError, match=r"name: 'convnext_tiny.* has no class token"):
        encoder.check_class_token()
