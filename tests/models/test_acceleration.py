"""Precision, compilation, memory format and checkpointing change how a step is computed, not what it computes."""

import copy

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.recompute import recompute_modules
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from tests.models.test_restoration_model import batch, options, step  # noqa: F401


def losses_and_gradients(options, batch, **train):  # noqa: F811
    opt = copy.deepcopy(options)
    opt['train'].update({'grad_clip_norm': 0, **train})
    torch.manual_seed(0)
    model = build_model(opt)
    # the gradients of a step are looked at before the optimizer uses them up
    step(model, batch)
    log = model.get_current_log()
    return log, {name: p.grad for name, p in model.get_bare_model(model.net_g).named_parameters()}


def assert_same_step(options, batch, tolerance, **train):  # noqa: F811
    plain_log, plain = losses_and_gradients(options, batch)
    log, gradients = losses_and_gradients(options, batch, **train)
    assert log == pytest.approx(plain_log, rel=tolerance, abs=1e-6)
    assert gradients.keys() == plain.keys()
    scale = max(g.abs().max() for g in plain.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient / scale, plain[name] / scale, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    'train',
    [{'channels_last': True}, {'checkpointing': ['encoder_level*', 'refinement']}],
    ids=['channels_last', 'checkpointing'],
)
def test_same_losses_and_gradients(options, batch, train):  # noqa: F811
    assert_same_step(options, batch, 1e-5, **train)


def test_compiled_network_gives_the_same(options, batch):  # noqa: F811
    backbone = {'type': 'NAFNet', 'width': 8, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
    options['network_g'].update(backbone=backbone, guide_at=['middle_blks'])
    assert_same_step(options, batch, 1e-4, compile=True, checkpointing=['encoders.0'])


@pytest.mark.parametrize('amp', ['bf16', 'fp16'])
def test_half_precision_stays_close_to_float32(options, batch, amp):  # noqa: F811
    plain_log, plain = losses_and_gradients(options, batch)
    log, gradients = losses_and_gradients(options, batch, amp=amp)
    assert log['l_pix'] == pytest.approx(plain_log['l_pix'], rel=0.02)
    ours = torch.cat([g.flatten() for g in gradients.values()])
    reference = torch.cat([g.flatten() for g in plain.values()])
    assert torch.cosine_similarity(ours, reference, dim=0) > 0.99
    assert ours.norm() == pytest.approx(reference.norm().item(), rel=0.1)


def test_gradients_are_clipped_as_they_are_not_as_they_are_scaled(options, batch):  # noqa: F811
    plain, half = (
        torch.cat([g.flatten() for g in losses_and_gradients(options, batch, grad_clip_norm=0.01, amp=amp)[1].values()])
        for amp in ('off', 'fp16')
    )
    assert plain.norm() == pytest.approx(0.01, rel=1e-3)
    assert half.norm() == pytest.approx(0.01, rel=1e-3)
    assert torch.cosine_similarity(plain, half, dim=0) > 0.99


def test_validation_runs_in_float32_whatever_the_training_does(options, batch):  # noqa: F811
    options['train']['amp'] = 'bf16'
    model = build_model(options)
    model.feed_data(batch)
    model.test()
    with torch.no_grad():
        assert torch.equal(model.output, model.net_g_ema(batch['lq']))


def test_the_loss_scale_is_in_the_training_state(options, batch, tmp_path):  # noqa: F811
    options['train']['amp'] = 'fp16'
    model = build_model(copy.deepcopy(options))
    step(model, batch)
    model.step.precision.scaler.update(512.0)
    model.save_training_state(0, 7)
    state = torch.load(tmp_path / '7.state', weights_only=False)
    resumed = build_model(copy.deepcopy(options))
    resumed.resume_training(state)
    assert resumed.step.precision.scaler.get_scale() == 512.0


def test_checkpointing_computes_the_inside_again(network_options):
    net = DINOIRArch(**network_options)
    names = set(net.state_dict())
    calls = []
    net.backbone.encoder_level1[0].ffn.dwconv.register_forward_hook(lambda *args: calls.append(1))
    assert recompute_modules(net.backbone, ['encoder_level1']) == ['encoder_level1']
    assert set(net.state_dict()) == names
    net(torch.rand(1, 3, 16, 16)).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        net.eval()(torch.rand(1, 3, 16, 16))
    assert len(calls) == 3


def test_fusion_keeps_its_statistics_in_float32():
    torch.manual_seed(0)
    fusion = DRFusion(16, 8)
    feature, guide = 100 + torch.randn(1, 16, 32, 32), torch.randn(1, 8, 3, 3)
    exact = fusion.double().attention_matrix(feature.double(), Condition({'guide': guide.double()}))
    with torch.autocast('cpu', torch.bfloat16):
        half = fusion.float().attention_matrix(feature, Condition({'guide': guide}))
    assert half.dtype is torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=0.05, atol=0.005)
