"""One training step in this process."""

import copy

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.dinoir.dpc_loss import DPCLoss
from dinoir_plugin.models.validation import result_name


@pytest.fixture
def options(make_project, tmp_path):
    opt = make_project().options
    opt.update(is_train=True, dist=False, rank=0, world_size=1, num_gpu=0)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path), experiments_root=str(tmp_path))
    return opt


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {'lq': torch.rand(2, 3, 32, 32), 'gt': torch.rand(2, 3, 32, 32), 'task': ['denoise', 'derain']}


def step(model, batch, iteration=1):
    model.feed_data(batch)
    model.optimize_parameters(iteration)


def test_encoder_is_one_copy_out_of_reach_of_optimizer_and_ema(options, batch):
    model = build_model(options)
    encoder = model.net_g.encoder
    assert model.net_g_ema.encoder is encoder is model.criteria['dpc'].encoder
    before = copy.deepcopy(encoder._net.state_dict())
    step(model, batch)
    model.net_g.train()
    assert not encoder._net.training
    assert all(torch.equal(a, b) for a, b in zip(before.values(), encoder._net.state_dict().values()))
    trained = sum(p.numel() for group in model.optimizer_g.param_groups for p in group['params'])
    assert trained == sum(p.numel() for p in model.net_g.parameters())
    assert trained == sum(p.numel() for p in model.net_g_ema.parameters())


def test_loss_is_l1_plus_dpc_and_needs_three_encoder_passes(options, batch, monkeypatch):
    model = build_model(options)
    sizes = []
    kind = type(model.net_g.encoder._net)
    forward = kind.forward
    monkeypatch.setattr(kind, 'forward', lambda self, x, layers=None: sizes.append(len(x)) or forward(self, x, layers))
    expected_output = model.net_g(batch['lq'])
    loss = DPCLoss([1, 3], loss_weight=0.01, encoder=model.net_g.encoder)
    expected = {
        'l_pix': (expected_output - batch['gt']).abs().mean().item(),
        'l_dpc': loss(expected_output, batch['gt'], batch['lq']).item(),
    }
    sizes.clear()
    step(model, batch)
    # lq and gt as one batch of four, then the output: three images a sample, two calls
    assert sizes == [4, 2]
    log = model.get_current_log()
    assert {key: log[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    assert sum(log[f'psf/{level}'] for level in ('shallow', 'medium', 'deep')) == pytest.approx(1)


def test_a_loss_with_an_encoder_of_its_own_uses_that(options, batch, encoder_options):
    encoder_options.pop('layers')
    encoder_options['model_args']['depth'] = 6
    options['train']['dpc_opt'].update(encoder=encoder_options, layers=[5])
    model = build_model(options)
    assert model.criteria['dpc'].encoder is not model.net_g.encoder
    expected = model.criteria['dpc'](model.net_g(batch['lq']), batch['gt'], batch['lq']).item()
    step(model, batch)
    assert model.get_current_log()['l_dpc'] == pytest.approx(expected, rel=1e-5)


def test_a_loss_is_told_the_iteration(options, batch):
    options['train']['dpc_opt']['ramp'] = 10
    model = build_model(options)
    whole = model.criteria['dpc'](model.net_g(batch['lq']), batch['gt'], batch['lq']).item()
    # that of a resumed run: nothing but the iteration counts
    model.update_learning_rate(7)
    step(model, batch, 7)
    assert model.get_current_log()['l_dpc'] == pytest.approx(0.7 * whole, rel=1e-5)


def test_ema_follows_the_network(options, batch):
    model = build_model(options)
    before = [p.clone() for p in model.net_g_ema.parameters()]
    step(model, batch)
    for old, ema, new in zip(before, model.net_g_ema.parameters(), model.net_g.parameters()):
        torch.testing.assert_close(ema, 0.9 * old + 0.1 * new)


def test_gradients_are_clipped_together(options, batch):
    gradients = []
    for limit in (0, 1e-3):
        options['train']['grad_clip_norm'] = limit
        torch.manual_seed(0)
        model = build_model(copy.deepcopy(options))
        step(model, batch)
        gradients.append(torch.cat([p.grad.flatten() for p in model.net_g.parameters()]))
    free, clipped = gradients
    assert free.norm() > 0.01 and clipped.norm() == pytest.approx(1e-3, rel=1e-3)
    torch.testing.assert_close(clipped, free * (1e-3 / free.norm()), rtol=1e-3, atol=1e-8)


def test_patches_that_the_backbone_pads_give_the_same_loss_as_the_plain_form(options):
    batch = {'lq': torch.rand(1, 3, 30, 34), 'gt': torch.rand(1, 3, 30, 34)}
    model = build_model(options)
    step(model, batch)
    assert model.output.shape == batch['gt'].shape
    assert model.get_current_log()['l_dpc'] > 0


def test_options_are_not_changed(options):
    before = copy.deepcopy(options)
    build_model(options)
    assert options == before


def test_unknown_optimizer_names_the_nearest(options):
    options['train']['optim_g']['type'] = 'AdmaW'
    with pytest.raises(OptionsError, match="'AdamW'"):
        build_model(options)


def test_restores_in_tiles_where_asked_to(options, batch):
    options['val'] = {'save_img': False, 'tile': 16, 'tile_overlap': 8}
    model = build_model(options)
    sizes = []
    backbone = model.net_g_ema.backbone
    backbone.register_forward_hook(lambda net, inputs, output: sizes.append(tuple(inputs[0].shape[-2:])))
    model.feed_data(batch)
    model.test()
    assert sizes == [(16, 16)] * 9
    assert model.output.shape == batch['lq'].shape
    assert model.net_g.training and not model.net_g_ema.training


def test_the_log_has_each_tasks_error_since_its_last_line(options, batch):
    model = build_model(options)
    batch['task'] = ['denoise', 'dehaze']
    errors = []
    for _ in range(2):
        step(model, batch)
        errors.append((model.output - batch['gt']).abs().mean(dim=(1, 2, 3)))
    denoise, dehaze = torch.stack(errors).mean(dim=0).tolist()
    log = model.get_current_log()
    assert {key: log[key] for key in log if key.startswith('l1/')} == pytest.approx(
        {'l1/denoise': denoise, 'l1/dehaze': dehaze}, rel=1e-5
    )
    step(model, {**batch, 'task': ['denoise', 'denoise']})
    assert [key for key in model.get_current_log() if key.startswith('l1/')] == ['l1/denoise']


def test_running_statistics_reach_the_averaged_network(options, batch):
    options['network_g'] = {'type': 'DnCNN', 'nc': 8, 'nb': 3}
    del options['train']['dpc_opt']
    model = build_model(options)
    for iteration in range(3):
        step(model, batch, iteration)
    buffers = dict(model.net_g.named_buffers())
    assert int(buffers['model.3.num_batches_tracked']) == 3
    assert all(torch.equal(value, buffers[name]) for name, value in model.net_g_ema.named_buffers())


@pytest.mark.parametrize(
    ('metric', 'better'),
    [
        ({'type': 'calculate_niqe'}, 'lower'),
        ({'type': 'calculate_psnr'}, 'higher'),
        ({'type': 'calculate_fid', 'better': 'lower'}, 'lower'),
    ],
)
def test_a_metric_knows_itself_which_way_is_better(options, metric, better):
    options['val'] = {'metrics': {'figure': metric}}
    model = build_model(options)
    model._initialize_best_metric_results('x')
    worst, best = (9.0, 2.0) if better == 'lower' else (2.0, 9.0)
    for iteration, value in ((1, worst), (2, best), (3, worst)):
        model._update_best_metric_result('x', 'figure', value, iteration)
    assert model.best_metric_results['x']['figure'] == {'better': better, 'val': best, 'iter': 2}


def test_results_from_folders_inside_an_lmdb_keep_apart():
    names = [result_name(f'datasets/gopro/test/blur.lmdb/GOPR_{number}/000047.png') for number in (1, 2)]
    assert names == ['GOPR_1_000047.png', 'GOPR_2_000047.png']
    assert result_name('photos/holiday.lmdb.d/000047.png') == '000047.png'
