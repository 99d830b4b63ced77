"""What a training step asks of the device, and what it does in half precision."""

import copy

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.models.half_weights import HalfWeights
from dinoir_plugin.models.step_checks import TrainingError
from dinoir_plugin.testing.dispatch import Dispatched
from tests.models.test_restoration_model import batch, options  # noqa: F401
from tests.models.test_step_checks import bad, built, weights

# of a Restormer with the paper's blocks, guided in 7 places by 12 blocks of a ViT, with DPC, clipping and EMA
LIMIT = 3500
BLOCKS = {'dim': 8, 'num_blocks': [4, 6, 6, 8], 'num_refinement_blocks': 4, 'heads': [1, 2, 4, 8]}


def whole_step(options, **train):  # noqa: F811
    """The options of a guided training with everything in the step."""
    opt = copy.deepcopy(options)
    opt['network_g'].update(
        backbone={'type': 'Restormer', **BLOCKS},
        encoder={'name': 'vit_small_patch14_dinov2', 'weights': 'random',
                 'layers': {'shallow': 3, 'medium': 7, 'deep': 11},
                 'model_args': {'embed_dim': 48, 'num_heads': 2, 'img_size': 28}},
        guide_at=['encoder_level*', 'latent', 'decoder_level*'], psf={'dim': 16, 'form': 'literal'},
    )  # fmt: skip
    opt['train'].update(
        ema_decay=0.999, grad_clip_norm=0.01,
        optim_g={'type': 'AdamW', 'lr': 1e-4, 'fused': True},
        dpc_opt={'type': 'DPCLoss', 'layers': [3, 7, 11], 'floor': 0.5}, **train,
    )  # fmt: skip
    return opt


@pytest.mark.parametrize('amp', ['off', 'bf16'])
def test_a_step_dispatches_few_operations_and_reads_nothing_back(options, amp):  # noqa: F811
    model = build_model(whole_step(options, amp=amp))
    data = {'lq': torch.rand(1, 3, 16, 16), 'gt': torch.rand(1, 3, 16, 16)}
    for iteration in (1, 2):  # the first ones make what is kept between steps
        model.feed_data(data)
        model.optimize_parameters(iteration)
    model.feed_data(data)
    with Dispatched() as dispatched:
        model.optimize_parameters(3)
    assert not dispatched.waits
    if amp == 'bf16':  # in float32 the CPU counts multiplications instead
        assert dispatched.total <= LIMIT, dispatched.counts.most_common(20)


def test_the_device_leaves_a_step_out_and_the_host_learns_of_it_at_the_next(options, batch):  # noqa: F811
    train = {'optim_g': {'type': 'AdamW', 'lr': 1e-3, 'fused': True}}
    model = built(options, on_nonfinite='skip', **train)
    assert model.step.on_device
    model.feed_data(batch)
    model.optimize_parameters(1)
    before = weights(model)
    model.feed_data(bad(batch))
    model.optimize_parameters(2)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model)))
    model.step.settle()
    assert model.step.finite.skipped == 1
    model = built(options, **train)
    model.feed_data(bad(batch))
    model.optimize_parameters(1)
    model.feed_data(batch)
    with pytest.raises(TrainingError, match=r'iteration 1: .*derain: a/first\.png'):
        model.optimize_parameters(2)


def test_a_fused_optimizer_makes_the_steps_of_a_plain_one(options, batch):  # noqa: F811
    models = [built(options, optim_g={'type': 'AdamW', 'lr': 1e-3, 'fused': fused}) for fused in (True, False)]
    models[1].net_g.load_state_dict(models[0].net_g.state_dict())
    models[1].model_ema(0)
    for iteration in (1, 2, 3):
        for model in models:
            model.feed_data(batch)
            model.optimize_parameters(iteration)
    for one, other in zip(weights(models[0]), weights(models[1])):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_lent_weights_give_autocasts_values_and_gradients():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(32, 2))
    image = torch.rand(2, 3, 4, 4)
    results = []
    for lends in (False, True):
        net.zero_grad()
        half = HalfWeights(net, torch.bfloat16, in_parts=lends)
        with torch.autocast('cpu', torch.bfloat16):
            if lends:
                with half.lent():
                    assert net[0].weight.dtype == torch.bfloat16
                    out = net(image)
                    out.float().square().sum().backward()
            else:
                out = net(image)
                out.float().square().sum().backward()
        results.append([out.detach(), *(p.grad for p in net.parameters())])
    assert all(isinstance(p, torch.nn.Parameter) and p.grad.dtype == torch.float32 for p in net.parameters())
    for one, other in zip(*results):
        assert torch.equal(one, other)


def test_half_precision_clips_the_gradients_of_all_weights(options, batch):  # noqa: F811
    model = built(options, amp='bf16', grad_clip_norm=1e-3, optim_g={'type': 'SGD', 'lr': 1.0})
    before = [p.detach().clone() for p in model.net_g.parameters()]
    model.feed_data(batch)
    model.optimize_parameters(1)
    moved = torch.stack([(p - b).norm() for p, b in zip(model.net_g.parameters(), before)]).norm()
    assert 5e-4 < float(moved) <= 1.01e-3
