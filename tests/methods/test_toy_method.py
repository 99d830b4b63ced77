"""The seams hold a method that nothing in the package knows: trained, saved, resumed, restored, exported."""

import copy

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin import Restorer
from dinoir_plugin.core import network_file
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.restore.export import export
from tests.methods.toy_method import ToyArch, encode_count

EYES = {'name': 'vit_small_patch14_dinov2', 'weights': 'random',
        'model_args': {'embed_dim': 48, 'depth': 2, 'num_heads': 3, 'init_values': 1.0}}  # fmt: skip
NETWORK = {
    'type': 'ToyArch',
    'backbone': {'type': 'NAFNet', 'width': 8, 'middle_blk_num': 1, 'enc_blk_nums': [1], 'dec_blk_nums': [1]},
    'eyes': EYES,
    'guide_at': ['middle_blks', 'decoders.*'],
}


def options(folder, **train):
    names = ('models', 'training_states', 'visualization', 'experiments_root')
    return {
        'name': 'toy', 'model_type': 'RestorationModel', 'num_gpu': 0, 'dist': False, 'is_train': True, 'rank': 0,
        'world_size': 1, 'manual_seed': 0, 'network_g': copy.deepcopy(NETWORK), 'logger': {},
        'datasets': {'train': {'name': 'x', 'tasks': {'blur': {}}, 'gt_size': 32}},
        'path': {**{name: str(folder) for name in names}},
        'train': {
            'total_iter': 4, 'ema_decay': 0.9, 'optim_g': {'type': 'AdamW', 'lr': 1.0e-2},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]},
            'edge_opt': {'type': 'L1Loss'}, 'toy_opt': {'type': 'ToyLoss', 'loss_weight': 0.1}, **train,
        },
    }  # fmt: skip


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.rand(2, 3, 32, 32, generator=generator) for name in ('lq', 'gt')}
    return {**images, 'task': ['blur', 'blur'], 'lq_path': ['a', 'b']}


def step(model, iteration):
    model.feed_data(batch(iteration))
    model.update_learning_rate(iteration)
    model.optimize_parameters(iteration)


def test_it_trains_saves_restores_and_is_exported(tmp_path):
    torch.manual_seed(0)
    model = build_model(options(tmp_path))
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    calls, handle = encode_count(model.net_g.method.encoder)
    for iteration in (1, 2):
        step(model, iteration)
    handle.remove()
    # lq and gt in one pass, the output in another
    assert calls == [4, 2, 4, 2]
    log = model.get_current_log()
    assert {'l_edge', 'l_toy', 'toy/strength', 'l1/blur'} == set(log)
    after = model.net_g.state_dict()
    assert list(after) == list(before) and 'to_tokens.weight' in after
    assert all(not torch.equal(after[name], value) for name, value in before.items() if 'to_tokens' in name)

    model.opt['val'] = {'sampler': {'type': 'Twice', 'steps': 2}}
    model.save(0, 2)
    path = tmp_path / 'net_g_2.pth'
    description = network_file.read(path).description
    assert set(description.encoders) == {'eyes'} and description.sampler == {'type': 'Twice', 'steps': 2}
    image = torch.rand(3, 40, 52)
    restorer = Restorer.from_checkpoint(path, device='cpu')
    averaged = model.net_g_ema.eval()
    with torch.no_grad():
        seen = averaged.encode(image[None])
        expected = averaged(averaged(image[None], seen), seen)[0].clamp(0, 1)
    torch.testing.assert_close(restorer.restore(image), expected)
    with pytest.raises(ValueError, match='restores in steps'):
        export(path, tmp_path / 'net.pt2')
    model.opt['val'] = {}
    model.save(0, 2)
    assert 'differs from the network by at most' in export(path, tmp_path / 'net.pt2')


def test_other_weights_of_its_encoder_are_refused(tmp_path):
    model = build_model(options(tmp_path))
    model.save(0, 1)
    path = tmp_path / 'net_g_1.pth'
    file = network_file.read(path)
    file.description.encoders['eyes'][:] = [1.0, 1.0, 1.0, 1.0]
    network_file.write(path, file)
    with pytest.raises(OptionsError, match=r'network_g\.eyes\.weights'):
        Restorer.from_checkpoint(path, device='cpu')


def test_checkpoints_fit_nested_networks_and_tiles_are_guided(tmp_path):
    net = ToyArch(**{key: value for key, value in copy.deepcopy(NETWORK).items() if key != 'type'}).eval()
    nested = torch.nn.ModuleDict({'inner': net})
    state = nested.state_dict()
    assert 'inner.to_tokens.weight' in state and 'inner.backbone.intro.weight' in state
    assert not nested.load_state_dict(state, strict=True).missing_keys
    assert isinstance(net, GuidedArch) and net.guided == ['decoders.0', 'middle_blks']
