"""A training step of each method asks nothing of the host, so that a CUDA graph may repeat it."""

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.methods.perceive_ir import QualityPrompts
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, write_prompts
from dinoir_plugin.models.step_graph import WARM_UP, reason_against
from dinoir_plugin.testing.dispatch import Dispatched
from tests.methods.daclip import tiny as daclip
from tests.methods.perceive_ir import tiny as perceive_ir

pytestmark = pytest.mark.filterwarnings('ignore:.*random weights')
ENCODER = {'name': 'vit_small_patch14_dinov2', 'weights': 'random',
           'model_args': {'depth': 4, 'embed_dim': 48, 'num_heads': 2, 'img_size': 28}}  # fmt: skip
NAFNET = {'type': 'NAFNet', 'width': 8, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
PLACES = ['decoders.*']
L1 = {'pixel_opt': {'type': 'L1Loss'}}


def dinoir(folder):
    encoder = {**ENCODER, 'layers': {'shallow': 0, 'medium': 1, 'deep': 3}}
    network = {'type': 'DINOIRArch', 'backbone': NAFNET, 'encoder': encoder, 'psf': {'dim': 8},
               'guide_at': PLACES}  # fmt: skip
    return network, {**L1, 'dpc_opt': {'type': 'DPCLoss', 'layers': [1, 3], 'ramp': 10}}


def guided_by_daclip(folder):
    clip = {'weights': 'random', 'model_args': daclip.CLIP}
    return {'type': 'DACLIPArch', 'backbone': NAFNET, 'daclip': clip, 'guide_at': PLACES}, L1


def irsde(folder):
    return daclip.NETWORK, {'sde_opt': {'type': 'SDELoss'}}


def perceive_ir_losses(folder):
    prompts = str(folder / 'prompts.pth')
    write_prompts(prompts, PromptFile(QualityPrompts(frozen_clip(**perceive_ir.CLIP).network), 100_000, True))
    return {
        **L1,
        'code_opt': {'type': 'CodeContrastLoss', 'severities': [17, 22]},
        'clip_opt': {'type': 'CLIPAwareLoss', 'prompts': prompts, 'clip': perceive_ir.CLIP},
        'dpl_opt': {'type': 'DifficultyAdaptiveLoss', 'weights': 'random'},
    }


def perceive(folder):
    backbone = {'type': 'PerceiveIR', **perceive_ir.NETWORK}
    network = {'type': 'PerceiveIRArch', 'backbone': backbone, 'encoder': {**ENCODER, 'layers': [0, 1, 2, 3]}}
    return network, perceive_ir_losses(folder)


def perceive_by_patch_tokens(folder):
    network, losses = perceive(folder)
    return {**network, 'backbone': NAFNET, 'guide_at': PLACES, 'semantics': 'spatial'}, losses


def airnet(folder):
    network = {'type': 'AirNet', 'n_feats': 8, 'n_groups': 1, 'n_blocks': 1, 'encoder_widths': [8, 8, 8], 'dim': 8}
    return network, {**L1, 'queue_opt': {'type': 'ContrastiveQueueLoss'}}


def model_of(folder, make, **train):
    """Build the model of a run whose optimizer can leave a step out on the device."""
    torch.manual_seed(0)  # of prompts that are made here
    network, losses = make(folder)
    # no Adam: it takes steps of full length along gradients that are nothing but rounding
    fused = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9, 'fused': True}
    opt = daclip.options(folder, network, optim_g=fused, grad_clip_norm=0.1, **train)
    opt['train'].pop('sde_opt')
    opt['train'].update(losses)
    opt['model_type'] = 'SDEModel' if make is irsde else 'RestorationModel'
    opt['datasets']['train']['tasks'] = {'noisy': {}, 'hazy': {}}
    opt['num_gpu'] = int(torch.cuda.is_available())
    torch.manual_seed(0)
    return build_model(opt)


def fed(model, iteration):
    """Begin an iteration with a batch of its own."""
    generator = torch.Generator().manual_seed(iteration)
    lq, gt, key = torch.rand(3, 2, 3, 32, 32, generator=generator)
    model.update_learning_rate(iteration)
    model.feed_data({'lq': lq, 'gt': gt, 'key': key, 'task': ['noisy', 'hazy']})


METHODS = [dinoir, guided_by_daclip, irsde, perceive, perceive_by_patch_tokens, airnet]


@pytest.mark.skipif(torch.cuda.is_available(), reason='counts what is dispatched on a CPU')
@pytest.mark.parametrize('amp', ['off', 'bf16'])
@pytest.mark.parametrize('make', METHODS)
def test_a_step_waits_for_nothing_and_may_be_recorded(tmp_path, make, amp):
    model = model_of(tmp_path, make, amp=amp)
    for iteration in (1, 2):  # the first ones make what is kept between steps
        fed(model, iteration)
        model.optimize_parameters(iteration)
    fed(model, 3)
    with Dispatched() as dispatched:
        model.optimize_parameters(3)
    assert not dispatched.waits and reason_against(model) == ''


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('make', METHODS)
def test_recorded_steps_are_those_made_one_by_one(tmp_path, monkeypatch, make):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    found = []
    for graph in ('auto', 'off'):
        model = model_of(tmp_path, make, cuda_graph=graph)
        for iteration in range(1, WARM_UP + 4):
            fed(model, iteration)
            model.optimize_parameters(iteration)
        model.step.settle()
        assert (model.step._graph._recording is not None) == (graph == 'auto')
        found.append([value.detach().cpu() for value in (*model.net_g.parameters(), *model.net_g_ema.parameters())])
    for one, other in zip(*found):
        assert one.isfinite().all()
        if make is not irsde:  # which draws other times and noise in a graph
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_network_with_items_that_are_no_tensors_is_not_recorded(tmp_path):
    model = model_of(tmp_path, lambda folder: ({'type': 'IDR', 'dim': 4}, L1))
    assert reason_against(model) == 'the network may look at more than tensors'
