import copy
import pickle

import pytest
import torch

from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.fitting import fit
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.methods.dinoir.dpc_loss import DPCLoss


@pytest.fixture
def net(network_options):
    torch.manual_seed(0)
    return DINOIRArch(**network_options)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (64, 48)])
def test_output_has_the_inputs_size(net, size):
    assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_guides_the_places_named(net):
    assert net.guided == [
        'encoder_level1', 'encoder_level2', 'encoder_level3', 'latent', 'decoder_level3', 'decoder_level2',
        'decoder_level1',
    ]  # fmt: skip


def test_encoder_is_out_of_reach_of_the_trainer(net):
    owned = sum(p.numel() for p in net.parameters())
    assert sum(t.numel() for t in net.state_dict().values()) == owned
    assert not any('encoder.' in name and 'backbone' not in name for name in net.state_dict())
    net.train()
    assert not net.encoder._net.training
    twins = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    assert all(twin.encoder is net.encoder for twin in twins)
    x = torch.rand(1, 3, 32, 32)
    assert all(torch.equal(twin(x), net(x)) for twin in twins)


def test_a_change_of_type_reaches_all_parts_but_the_encoder(net):
    image = torch.rand(1, 3, 16, 16)
    expected = net(image)
    twin = copy.deepcopy(net).double()
    assert {p.dtype for p in twin.parameters()} == {torch.float64}
    assert {p.dtype for p in net.encoder._net.parameters()} == {torch.float32}
    torch.testing.assert_close(twin(image.double()).float(), expected, rtol=1e-3, atol=1e-4)


def test_a_copy_without_numbers_leaves_the_shared_encoder_where_it_is(net):
    x = torch.rand(1, 3, 32, 32)
    before = net(x)
    copy.deepcopy(net).to('meta')
    assert torch.equal(net(x), before)


def test_every_parameter_gets_a_gradient_and_the_encoder_none(net):
    net(torch.rand(1, 3, 32, 32)).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]
    assert all(p.grad is None for p in net.encoder._net.parameters())


@pytest.mark.parametrize('name', ['tf_efficientnet_lite0', 'convnext_atto', 'vit_small_patch16_dinov3'])
def test_encoders_of_every_kind_guide_and_judge(name, network_options):
    depth = {'embed_dim': 48, 'depth': 4, 'num_heads': 3} if name.startswith('vit') else {}
    layers = {'shallow': 1, 'medium': 2, 'deep': 3}
    network_options['encoder'] = {'name': name, 'weights': 'random', 'layers': layers, 'model_args': depth}
    torch.manual_seed(0)
    net = DINOIRArch(**network_options)
    loss = DPCLoss([1, 3], encoder=net.encoder)
    gt, lq = torch.rand(2, 3, 50, 70), torch.rand(2, 3, 50, 70)
    output = net(lq)
    assert output.shape == lq.shape and net.psf_scores.shape == (2, 3)
    (output.square().mean() + loss(output, gt, lq)).backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None]
    assert all(p.grad is None for p in net.encoder._net.parameters())
    # parts are guided by their share of the whole image's features
    net.eval()
    with torch.no_grad():
        padded = net.padded(lq)
        whole = Tile(0, 0, *padded.shape[-2:], *padded.shape[-2:])
        torch.testing.assert_close(net.by_tile(padded)(whole, padded)[..., :50, :70], net(lq))


def test_given_features_replace_the_encoding(net):
    x = torch.rand(2, 3, 30, 41)
    torch.testing.assert_close(net(x, encodings=net.encode(x)), net(x))
    other = net.encode(torch.rand(2, 3, 30, 41))
    assert not torch.allclose(net(x, encodings=other), net(x))


def test_scores_are_kept_for_the_log(net):
    net(torch.rand(2, 3, 32, 32))
    assert net.psf_scores.shape == (2, 3)
    assert not net.psf_scores.requires_grad


def test_released_backbone_weights_load(net, backbone_options):
    backbone_options.pop('type')
    released = Restormer(**backbone_options).state_dict()
    result = net.backbone.load_state_dict(released, strict=False)
    assert not result.unexpected_keys
    assert all('.guidance.' in key for key in result.missing_keys)


def test_weights_of_the_other_form_of_psf_are_explained(net, network_options):
    literal = DINOIRArch(**{**network_options, 'psf': {'dim': 16, 'form': 'literal'}})
    for one, other, form in ((net, literal, 'experts'), (literal, net, 'literal')):
        assert fit(one.state_dict(), other).problem() == f'was trained with network_g.psf.form: {form}'
        with pytest.raises(ValueError, match=f'form: {form}'):
            other.load_state_dict(one.state_dict())
        other.backbone.load_state_dict(one.backbone.state_dict())


def test_the_literal_guide_is_made_of_features_behind_the_encoders_final_norm(network_options):
    """Blocks give a few very large channels, which the weights of the final norm make small."""
    net = DINOIRArch(**{**network_options, 'psf': {'dim': 16, 'form': 'literal'}})
    x = torch.rand(1, 3, 32, 32)
    norm = net.encoder._net.model.norm
    before = net.condition(x).maps['guide']
    try:
        with torch.no_grad():
            norm.weight[7] = 60.0
            assert not torch.allclose(net.condition(x).maps['guide'], before)
    finally:
        norm.weight.data[7] = 1.0
    torch.testing.assert_close(net.condition(x).maps['guide'], before)


@pytest.mark.parametrize(
    ('options', 'place', 'size'),
    [
        ({'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'upscale': 2}, 'body', 2),
        ({'type': 'SwinIR', 'img_size': 64, 'depths': [1], 'embed_dim': 12, 'num_heads': [2], 'window_size': 8,
          'upsampler': '', 'upscale': 1}, 'conv_after_body', 1),
    ],
)  # fmt: skip
def test_guides_archs_of_basicsr_itself(options, place, size, encoder_options):
    net = DINOIRArch(options, encoder_options, [place])
    assert net(torch.rand(1, 3, 24, 40)).shape == (1, 3, 24 * size, 40 * size)


@pytest.mark.parametrize(
    ('change', 'path', 'hint'),
    [
        ({'backbone': {'type': 'Restromer'}}, 'backbone.type', "'Restormer'"),
        ({'backbone': {'type': 'Restormer', 'dmi': 8}}, 'backbone.dmi', "'dim'"),
        ({'encoder': {'weights': 'random', 'layers': {'a': 0}}}, 'encoder.name', 'required'),
        ({'guide_at': ['latnet']}, 'guide_at', "'latent'"),
        ({'psf': {'dims': 3}}, 'psf.dims', "'dim'"),
        ({'fusion': {'attention': 'cosin'}}, 'fusion.attention', "'cosine'"),
    ],
)
def test_errors_name_the_option(change, path, hint, network_options):
    with pytest.raises(OptionsError) as caught:
        DINOIRArch(**{**network_options, **change})
    assert caught.value.path == path
    assert hint in str(caught.value)


@pytest.mark.parametrize(('layers', 'path'), [({'deep': 4}, 'encoder.layers.deep'), ({}, 'encoder.layers')])
def test_layers_that_do_not_exist(layers, path, network_options):
    network_options['encoder']['layers'] = layers
    with pytest.raises(OptionsError) as caught:
        DINOIRArch(**network_options)
    assert caught.value.path == path
