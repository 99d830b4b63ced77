import pytest
import torch

from dinoir_plugin.core import network_file
from dinoir_plugin.methods.daclip import DACLIP
from tests.conftest import relative_error
from tests.methods.daclip.released_names import names_and_shapes

TINY = {
    'embed_dim': 24, 'image_size': 32, 'patch_size': 8, 'vision_width': 48, 'vision_layers': 4, 'head_width': 16,
    'context_length': 12, 'vocab_size': 96, 'text_width': 32, 'text_heads': 2, 'text_layers': 2,
}  # fmt: skip
VIT_L = {'embed_dim': 768, 'patch_size': 14, 'vision_width': 1024, 'vision_layers': 24,
         'text_width': 768, 'text_heads': 12}  # fmt: skip
# tensors, parameters, and the digest of the list in the facts about the release
RELEASED = [
    ({}, 631, 246_213_634, 'cc173cafa7dd63fde54533ce841bf3c7ffe2cdbac4b75f843c000799421c6c2e'),
    (VIT_L, 1087, 756_773_122, '7579b0ad0d706e5b90d272469eb7abd8b0f043c5c546462c8b0ee797bfee366d'),
]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return DACLIP(**TINY)


def test_reproduces_the_authors_embeddings(net, golden):
    params, tensors = golden('daclip/daclip')
    net.load_state_dict(params, strict=True)
    image, texts = tensors['input/image'], tensors['input/text'].chunk(2, dim=1)
    with torch.no_grad():
        content, degradation = net.encode_image(image)
        found = {
            'image_features': content,
            'degra_features': degradation,
            'clip_features': net.encode_image(image, control=False),
            'text_features': net.encode_text(texts[0]),
            'text_degra_features': net.encode_text(texts[1]),
            'hiddens': torch.stack(net.visual_control(image)[1]).transpose(1, 2),
            'logit_scale': net.logit_scale.exp(),
        }
    for name, value in found.items():
        assert relative_error(value, tensors[f'output/{name}']) < 1e-5, name


@pytest.mark.parametrize(('arguments', 'keys', 'count', 'digest'), RELEASED, ids=['ViT-B-32', 'ViT-L-14'])
def test_names_widths_and_number_of_parameters_of_the_releases(arguments, keys, count, digest):
    with torch.device('meta'):
        assert names_and_shapes(DACLIP(**arguments)) == (keys, count, digest)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_files_of_the_authors_training_fit(prefix, net, golden, tmp_path):
    params, _ = golden('daclip/daclip')
    named = {f'{prefix}{name}': value for name, value in params.items()}
    optimizer = {'state': {0: {'exp_avg': torch.zeros(3)}}}
    for content in (named, {'epoch': 30, 'name': 'daclip', 'state_dict': named, 'optimizer': optimizer,
                            'scaler': {'scale': 65536.0}}):  # fmt: skip
        torch.save(content, tmp_path / 'daclip.pt')
        _, found = network_file.read(tmp_path / 'daclip.pt').choose(None, net)
        assert not found.problem()
        net.load_state_dict(found.state, strict=True)
    assert torch.equal(net.clip.visual.proj, params['clip.visual.proj'])


def test_starts_as_clip_itself(net):
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        net.visual.ln_post.weight.normal_()
        net.visual.ln_post.bias.normal_()
        net.visual_control.transformer.zero_modules[2].weight.normal_()
        net.visual_control.start_from(net.visual)
        own = net.encode_image(image, control=False)
        for embedding in net.encode_image(image):
            torch.testing.assert_close(embedding, own)


def test_starts_as_the_authors_code_where_that_is_asked_for(net):
    with torch.no_grad():
        net.visual.ln_post.weight.normal_()
        net.visual.ln_post.bias.normal_()
    net.visual_control.start_from(net.visual, as_released=True)
    first, *others = net.visual_control.transformer.zero_modules
    for row in first.weight:
        assert torch.equal(row, net.visual.ln_post.weight)
    assert torch.equal(first.bias, net.visual.ln_post.bias)
    assert not any(parameter.any() for outlet in others for parameter in outlet.parameters())
    assert torch.equal(net.visual_control.ln_post.weight, torch.ones(48))
    assert not net.visual_control.ln_post.bias.any()


def test_only_the_controller_learns(net):
    content, degradation = net.encode_image(torch.randn(2, 3, 32, 32))
    (content.square().sum() + degradation.square().sum()).backward()
    learning = {name for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {name for name, _ in net.named_parameters() if name.startswith(('visual_control.', 'logit_s'))}
    still = {name for name, p in net.named_parameters() if p.requires_grad and p.grad is None}
    assert still == {'logit_scale'}


def test_an_image_of_another_size_is_refused(net):
    with pytest.raises(ValueError, match=r'image: expected 32x32 pixels, .* got 48x40'):
        net.encode_image(torch.zeros(1, 3, 40, 48))
