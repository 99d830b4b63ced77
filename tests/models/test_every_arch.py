"""Every backbone that is registered, ours and BasicSR's: built, guided, trained, saved, reloaded and exported."""

import copy
import re
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.models import build_model
from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin import Restorer
from dinoir_plugin.guidance.attach import resolve_names
from dinoir_plugin.guidance.places import guidable
from dinoir_plugin.restore.export import export
from dinoir_plugin.testing.dispatch import Dispatched
from dinoir_plugin.testing.project import TINY_ENCODER
from tests.exporting import LATELY, TOO_OLD

# tiny options and where to guide
RESTORERS = {
    'Restormer': (
        {'dim': 8, 'num_blocks': [0, 0, 0, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8]},
        ['latent', 'decoder_level1'],
    ),
    'NAFNet': ({'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}, ['middle_blks', 'decoders.*']),
    'PromptNAFNet': (
        {'width': 16, 'enc_blk_nums': [0], 'dec_blk_nums': [1], 'context_dim': 16}, ['middle_blks', 'decoders.*'],
    ),
    'PromptIR': (
        {'dim': 8, 'num_blocks': [0, 0, 0, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8],
         'prompt_dims': [4, 8, 12], 'prompt_sizes': [8, 4, 3], 'prompt_len': 3},
        ['latent', 'decoder_level1'],
    ),
    'IDR': (
        {'dim': 8, 'num_blocks': [0, 0, 0, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8],
         'num_degra_queries': 4, 'stage': 1},
        ['latent', 'decoder_level1'],
    ),
    'TKMANet': ({'res_blocks': 1, 'widths': [2, 4, 8, 16, 32]}, ['dehaze', 'fusion_1']),
    'AirNet': (
        {'n_feats': 8, 'n_groups': 1, 'n_blocks': 1, 'encoder_widths': [8, 12, 16], 'dim': 16, 'batch_size': 2},
        ['R.body.0', 'R.body.1'],
    ),
    'BRDNet': ({'nc': 8}, ['batch_renormalization_1', 'conv2d_22']),
    'IRCNN': ({'nc': 8}, ['model.4']),
    'IRCNN25': ({'nc': 4}, ['layers.3']),
    'DnCNN': ({'nc': 8, 'nb': 4}, ['model.4']),
    'FFDNet': ({'nc': 8, 'nb': 4}, ['model.3']),
    'ECBSR': ({'num_in_ch': 3, 'num_out_ch': 3, 'num_block': 1, 'num_channel': 8, 'with_idt': True,
               'act_type': 'relu', 'scale': 1}, ['backbone.0']),
    'EDSR': ({'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 1}, ['body']),
    'RCAN': ({'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_group': 1, 'num_block': 1, 'squeeze_factor': 2,
              'upscale': 1}, ['body']),
    'RIDNet': ({'in_channels': 3, 'mid_channels': 16, 'out_channels': 3, 'num_block': 1}, ['body']),
    'RRDBNet': ({'num_in_ch': 3, 'num_out_ch': 3, 'scale': 1, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4},
                ['body']),
    'MPRNet': (
        {'n_feat': 8, 'scale_unetfeats': 4, 'scale_orsnetfeats': 4, 'num_cab': 1},
        ['stage2_decoder.decoder_level1', 'stage3_orsnet.orb1'],
    ),
    'WGWSNet': (
        {'base_channel': 4, 'num_weathers': 4, 'num_res': 1},
        ['Encoder.2', 'Decoder.0'],
    ),
    'TransWeather': ({'embed_dims': [8, 16, 20, 32]}, ['Tenc.block4.1', 'convtail.dense_2']),
    'TransWeatherBase': ({'embed_dims': [8, 16, 20, 32]}, ['Tenc.block4.1', 'convproj.dense_2']),
    'SRVGGNetCompact': ({'num_feat': 8, 'num_conv': 2, 'upscale': 1}, ['body.2']),
    'SwinIR': ({'upscale': 1, 'img_size': 32, 'window_size': 8, 'embed_dim': 12, 'depths': [1], 'num_heads': [2],
                'mlp_ratio': 1, 'upsampler': ''}, ['conv_after_body']),
}  # fmt: skip
# one block of a DINOv2: exporting takes a second for each, and tests/restore/test_export.py has several
ENCODER = {**TINY_ENCODER, 'layers': {'deep': 0}, 'model_args': {**TINY_ENCODER['model_args'], 'depth': 1}}
# those that make tensors of the host's numbers in a training step
WAIT = {'IDR': 'of the tasks', 'SwinIR': 'a mask, for sizes other than img_size'}
ADVICE = Path(__file__).parents[2] / 'docs' / 'guide_at.md'
# users and other tests register networks, too
OWN = ('basicsr.', 'dinoir_plugin.')
# what is not one image in, one image of that size out
OTHERS = {
    'CBM3D': 'learns nothing',
    'BasicVSR': 'video', 'BasicVSRPlusPlus': 'video', 'DUF': 'video', 'EDVR': 'video', 'IconVSR': 'video',
    'MSRResNet': 'enlarges, by 2 at least', 'SpyNet': 'optical flow', 'TOFlow': 'video',
    'DFDNet': 'needs landmarks of a face',
    'HiFaceGAN': 'generator of faces at one size', 'HiFaceGANDiscriminator': 'discriminator',
    'StyleGAN2Discriminator': 'discriminator', 'StyleGAN2Generator': 'from noise to images',
    'UNetDiscriminatorSN': 'discriminator', 'VGGFeatureExtractor': 'features',
    'VGGStyleDiscriminator': 'discriminator',
    'DACLIPArch': 'what guides the others', 'DINOIRArch': 'what guides the others',
    'PerceiveIRArch': 'what guides the others', 'DACLIPStage1': 'embeddings',
    'PerceiveIRPrompts': 'judges quality',
    'ConditionalNAFNet': 'predicts noise', 'ConditionalUNet': 'predicts noise', 'IRSDEArch': 'predicts noise',
    'PerceiveIR': 'tested with its own guidance', 'RestormerMedium': 'PerceiveIR without what guides',
}  # fmt: skip


def test_nothing_registered_is_forgotten():
    known = [name for name in ARCH_REGISTRY.keys() if ARCH_REGISTRY.get(name).__module__.startswith(OWN)]
    names = {name.removesuffix('_basicsr') for name in known}
    assert set(RESTORERS) | set(OTHERS) == names


def test_the_places_that_the_documentation_advises_can_be_guided():
    rows = re.findall(r'^\| (\w+) \| `(\[.+\])` \|$', ADVICE.read_text(encoding='utf-8'), re.MULTILINE)
    assert len(rows) > 10
    for name, guide_at in rows:
        network = ARCH_REGISTRY.get(f'{name}_basicsr' if name not in ARCH_REGISTRY else name)(**RESTORERS[name][0])
        assert set(resolve_names(network, yaml.safe_load(guide_at), 'guide_at')) <= set(guidable(network)), name


def trained(name, project, folder, **train):
    """Build the model of a guided run."""
    options = project.options
    backbone, guide_at = RESTORERS[name]
    options['network_g'].update(backbone={'type': name, **backbone}, guide_at=guide_at, encoder=copy.deepcopy(ENCODER))
    options['train']['dpc_opt']['layers'] = [0]
    options['train'].update(train)
    options.update(is_train=True, dist=False, rank=0, world_size=1, num_gpu=0)
    options['path'].update(models=str(folder), training_states=str(folder), experiments_root=str(folder))
    return build_model(options)


@pytest.mark.parametrize('name', RESTORERS)
def test_trains_in_half_precision_and_waits_for_nothing(name, make_project, tmp_path):
    model = trained(name, make_project(), tmp_path, amp='bf16', optim_g={'type': 'AdamW', 'lr': 1e-4, 'fused': True})
    for iteration in (1, 2):
        model.feed_data({**dict(zip(('lq', 'gt', 'key'), torch.rand(3, 2, 3, 40, 32))), 'task': ['denoise', 'derain']})
        with Dispatched() as dispatched:
            model.optimize_parameters(iteration)
    model.step.settle()  # raises for numbers that are not finite
    assert name in WAIT or not dispatched.waits


@pytest.mark.parametrize('name', RESTORERS)
def test_is_guided_trained_saved_reloaded_and_exported(name, make_project, tmp_path):
    model = trained(name, make_project(), tmp_path)
    net = model.net_g
    own = ARCH_REGISTRY.get(name)(**RESTORERS[name][0]).state_dict()
    assert set(own) == {key.removeprefix('backbone.') for key in net.state_dict()
                        if key.startswith('backbone.') and '.guidance.' not in key}  # fmt: skip
    batch = {'lq': torch.rand(2, 3, 40, 32), 'gt': torch.rand(2, 3, 40, 32)}
    model.feed_data({**batch, 'task': ['denoise', 'derain']})
    before = {key: value.clone() for key, value in net.state_dict().items()}
    model.optimize_parameters(1)
    after = net.state_dict(keep_vars=True)
    still = [key for key, p in after.items() if p.requires_grad and torch.equal(p, before[key])]
    assert not [key for key in still if 'guidance' in key or 'psf' in key], 'guidance does not learn'

    model.save(0, 1)
    restorer = Restorer.from_checkpoint(tmp_path / 'net_g_1.pth', params='params')
    image = torch.rand(3, 44, 52)
    with torch.no_grad():
        expected = net.eval()(image[None])[0].clamp(0, 1)
    torch.testing.assert_close(restorer.restore(image), expected, rtol=0, atol=1e-5)

    if not (TOO_OLD and name in LATELY):
        assert 'differs from the network by at most' in export(tmp_path / 'net_g_1.pth', tmp_path / 'net.onnx')
