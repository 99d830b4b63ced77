import copy

import pytest
import torch
from basicsr.models import build_model
from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin import Restorer
from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.methods.perceive_ir import PerceiveIRArch

ENCODER = {'name': 'vit_small_patch14_dinov2', 'weights': 'random', 'layers': [0, 1, 2, 3],
           'model_args': {'embed_dim': 24, 'depth': 4, 'num_heads': 2, 'img_size': 56, 'init_values': 1.0}}  # fmt: skip
OWN = {'type': 'PerceiveIR', 'dim': 8, 'blocks': [1, 1, 1, 1], 'heads': [1, 1, 1, 1], 'refinement_blocks': 1,
       'semantic_dim': 24}  # fmt: skip
NAFNET = {'type': 'NAFNet', 'width': 8, 'middle_blk_num': 1, 'enc_blk_nums': [1] * 4, 'dec_blk_nums': [1] * 4}
PLACES = ['middle_blks', 'decoders.*']


def build(backbone=OWN, **others):
    torch.manual_seed(0)
    return PerceiveIRArch(copy.deepcopy(backbone), copy.deepcopy(ENCODER), **others)


@pytest.fixture(params=['own', 'nafnet', 'own, spatial', 'nafnet, spatial'])
def net(request):
    others = {'semantics': 'spatial'} if 'spatial' in request.param else {}
    return build(**others) if 'own' in request.param else build(NAFNET, guide_at=PLACES, **others)


def test_the_deepest_vector_goes_to_the_deepest_place():
    net = build(NAFNET, guide_at=PLACES)
    depths = {name: net.backbone.get_submodule(f'{name}.guidance.fusion').depth for name in net.guided}
    assert depths == {'decoders.0': 2, 'decoders.1': 1, 'decoders.2': 0, 'decoders.3': 0, 'middle_blks': 3}


def test_learns_everywhere_and_gives_codes_for_a_second_patch(net):
    lq, key = torch.rand(2, 2, 3, 40, 32)
    out = net.train()(lq, key=key)
    assert isinstance(out, Outputs) and out.image.shape == lq.shape
    for name, image in (('code', lq), ('code_positive', key)):
        torch.testing.assert_close(out.aux[name], net.extract_code(image))
        torch.testing.assert_close(out.aux[name].norm(dim=1), torch.ones(2))
    (out.image.square().sum() + (out.aux['code'] - out.aux['code_positive']).square().sum()).backward()
    assert all(p.grad is not None for p in net.parameters())
    torch.testing.assert_close(net(lq, net.encode(lq)), out.image)


def test_states_hold_neither_the_encoder_nor_the_code_twice(net):
    names = list(net.state_dict())
    assert len([name for name in names if name.endswith('projection.weight')]) == 1
    assert not any('blocks.0.attn.qkv' in name or 'encoder.' in name for name in names)
    twin = copy.deepcopy(net)
    twin.load_state_dict(net.state_dict(), strict=True)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(twin.eval()(image), net.eval()(image))


def test_released_weights_of_the_network_fit():
    net = build()
    own = build_registered(ARCH_REGISTRY, OWN, 'network_g').state_dict()
    assert net.released_names() == {name: f'backbone.{name}' for name in own}


def test_tiles_are_guided_by_the_whole_image():
    net = build().eval()
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        condition = net.condition(image)
        expected = net.backbone(image[..., :32], condition.tokens.unbind(dim=1), condition.vector)
        found = net.by_tile(image)(Tile(0, 0, 32, 32, 32, 64), image[..., :32])
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(net.extract_code(image[..., :32]), condition.vector, rtol=0, atol=1e-7)


def test_tiles_of_an_image_whose_places_are_guided_join_as_the_whole():
    net = build(semantics='spatial').double().eval()
    seen = {}

    def keep(place):
        return lambda module, inputs, output: seen.setdefault(place, output)

    image = torch.rand(1, 3, 32, 64).double()
    module = net.backbone.pgm[0]
    # the feature is made the same everywhere, so that only the guidance tells one place from another
    module.register_forward_pre_hook(lambda module, inputs: (torch.ones_like(inputs[0]), *inputs[1:]))
    with torch.no_grad():
        for place, left, width in (('whole', 0, 64), ('left', 0, 32), ('right', 32, 32)):
            handle = module.register_forward_hook(keep(place))
            net.by_tile(image)(Tile(0, left, 32, width, 32, 64), image[..., left : left + width])
            handle.remove()
    joined = torch.cat([seen['left'], seen['right']], dim=-1)
    torch.testing.assert_close(joined, seen['whole'], rtol=1e-6, atol=1e-6)
    assert seen['whole'].std(dim=-1).mean() > 1e-3


def test_a_step_contrasts_codes_and_a_checkpoint_restores(tmp_path):
    torch.manual_seed(0)
    network = {'type': 'PerceiveIRArch', 'backbone': dict(OWN), 'encoder': copy.deepcopy(ENCODER)}
    options = {
        'name': 'pir', 'model_type': 'RestorationModel', 'num_gpu': 0, 'dist': False, 'is_train': True, 'rank': 0,
        'world_size': 1, 'manual_seed': 0, 'network_g': network, 'logger': {},
        'datasets': {'train': {'name': 'x', 'tasks': {'blur': {}, 'rain': {}}, 'gt_size': 32}},
        'path': dict.fromkeys(('models', 'training_states', 'visualization', 'experiments_root'), str(tmp_path)),
        'train': {
            'total_iter': 1, 'optim_g': {'type': 'AdamW', 'lr': 1.0e-3}, 'amp': 'bf16',
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]}, 'pixel_opt': {'type': 'L1Loss'},
            'contrast_opt': {'type': 'CodeContrastLoss', 'loss_weight': 1.0},
        },
    }  # fmt: skip
    model = build_model(options)
    lq, gt, key = torch.rand(3, 2, 3, 32, 32)
    model.feed_data({'lq': lq, 'gt': gt, 'key': key, 'task': ['blur', 'rain']})
    model.optimize_parameters(1)
    # the codes are alike at first, so that one of two is right by chance
    assert model.get_current_log()['l_contrast'] == pytest.approx(0.693, abs=0.05)
    model.save(0, 1)
    image = torch.rand(3, 40, 52)
    with torch.no_grad():
        expected = model.net_g.eval()(image[None])[0].clamp(0, 1)
    restorer = Restorer.from_checkpoint(tmp_path / 'net_g_1.pth', device='cpu')
    torch.testing.assert_close(restorer.restore(image), expected)


@pytest.mark.parametrize(
    ('backbone', 'others', 'problem'),
    [
        ({**OWN, 'semantic_dim': 16}, {}, r'backbone\.semantic_dim: expected 24, the width of vit_small'),
        (OWN, {'cfe': {}}, 'cfe: expected none, as the backbone PerceiveIR makes the code'),
        (OWN, {'pgm': {}}, 'pgm: expected guide_at beside it'),
        (OWN, {'fit': 'crop', 'semantics': 'spatial'}, 'fit: expected squash with semantics: spatial'),
        (NAFNET, {}, 'guide_at: expected names of modules, got none'),
        (NAFNET, {'guide_at': PLACES, 'pgm': {'pgm_type': 'relase'}}, r'pgm\.pgm_type: '),
        (NAFNET, {'guide_at': PLACES, 'cfe': {'cfe_typ': 'figure'}}, r'cfe\.cfe_typ: unknown option'),
    ],
)
def test_what_does_not_fit_is_named(backbone, others, problem):
    with pytest.raises(OptionsError, match=problem):
        build(backbone, **others)


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        ({'layers': [0, 1, 2]}, r'encoder\.layers: expected 4 blocks, from shallow to deep, got \[0, 1, 2\]'),
        ({'layers': [0, 1, 2, 4]}, r'encoder\.layers: expected indices from 0 to 3'),
        ({'name': 'resnet18', 'model_args': {}}, r"encoder\.name: 'resnet18' has no class token"),
    ],
)
def test_encoders_that_do_not_fit_are_named(change, problem):
    with pytest.raises(OptionsError, match=problem):
        PerceiveIRArch(OWN, {**ENCODER, **change})
