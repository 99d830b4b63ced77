import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.encoder import Encoder
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.methods.dinoir.dpc_loss import DPCLoss


@pytest.fixture
def loss(encoder_options):
    encoder_options.pop('layers')
    return DPCLoss([1, 3], [0.25, 0.75], loss_weight=2.0, encoder=encoder_options, floor=0.5, eps=1e-6)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return [torch.rand(3, 3, 42, 56) for _ in range(3)]


def test_follows_the_equation(loss, batch, encoder_options):
    encoder_options.pop('layers', None)
    encoder = Encoder(layers=[1, 3], **encoder_options)
    output, gt, lq = (encoder(x) for x in batch)
    expected = 0.0
    for layer, weight in ((1, 0.25), (3, 0.75)):
        ratios = [
            (output[layer][b] - gt[layer][b]).abs().mean() / (output[layer][b] - lq[layer][b]).abs().mean()
            for b in range(3)
        ]
        expected += weight * sum(ratios) / 3
    torch.testing.assert_close(loss(*batch), 2.0 * expected)


def test_layers_without_weights_count_the_same(loss, batch):
    even = DPCLoss([1, 3], encoder=loss.encoder)
    parts = [DPCLoss([layer], encoder=loss.encoder)(*batch) for layer in (1, 3)]
    torch.testing.assert_close(even(*batch), sum(parts) / 2)


def test_does_not_depend_on_how_the_batch_is_split(loss, batch):
    parts = [loss(*(x[i : i + 1] for x in batch)) for i in range(3)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(*batch))


def test_gradient_flows_through_the_output_only(loss, batch):
    leaves = [x.clone().requires_grad_() for x in batch]
    loss(*leaves).backward()
    assert leaves[0].grad.abs().sum() > 0
    assert leaves[1].grad is None
    assert leaves[2].grad is None
    assert not list(loss.parameters())


def test_prefers_the_target_to_the_input(loss, batch):
    _, gt, lq = batch
    assert loss(gt, gt, lq) == 0
    assert loss(0.9 * gt + 0.1 * lq, gt, lq) < loss(0.1 * gt + 0.9 * lq, gt, lq)


def test_is_bounded_where_the_output_still_is_the_input(loss, batch):
    lq = batch[2].requires_grad_()
    value = loss(lq, batch[1], lq.detach())
    value.backward()
    assert value.item() == pytest.approx(loss.loss_weight / loss.floor, rel=1e-4)
    assert torch.isfinite(lq.grad).all()


def test_the_weight_rises_over_the_first_iterations(batch, loss):
    rising = DPCLoss([1, 3], [0.25, 0.75], loss_weight=2.0, encoder=loss.encoder, floor=0.5, eps=1e-6, ramp=4)
    whole = loss(*batch).item()
    assert rising(*batch).item() == pytest.approx(whole)
    for iteration, share in ((1, 0.25), (3, 0.75), (4, 1.0), (1000, 1.0)):
        rising.begin(iteration)
        assert rising(*batch).item() == pytest.approx(share * whole)
    assert not rising.state_dict()


def test_is_finite_for_an_image_without_degradation(loss, batch):
    clean = batch[1]
    output = clean.clone().requires_grad_()
    value = loss(output, clean, clean)
    value.backward()
    assert value.item() == 0 and torch.isfinite(output.grad).all()


def test_shares_the_networks_encoder(network_options):
    net = DINOIRArch(**network_options)
    options = {k: v for k, v in network_options['encoder'].items() if k != 'layers'}
    assert DPCLoss([0], encoder=options).encoder is net.encoder


@pytest.mark.parametrize(
    ('change', 'path'),
    [({'encoder': None}, 'encoder'), ({'layers': [4]}, 'layers'), ({'layer_weights': [1, 2]}, 'layer_weights'),
     ({'floor': 1.5}, 'floor'), ({'ramp': -1}, 'ramp')],
)
def test_errors_name_the_option(change, path, encoder_options):
    encoder_options.pop('layers')
    with pytest.raises(OptionsError) as caught:
        DPCLoss(**{'layers': [1], 'encoder': encoder_options, **change})
    assert caught.value.path == path


def test_half_precision_changes_a_large_images_ratios_by_a_hundredth_at_most(loss):
    torch.manual_seed(0)
    gt = torch.nn.functional.interpolate(torch.rand(1, 3, 64, 64), (1024, 1024), mode='bicubic').clamp(0, 1)
    lq, output = (gt + sigma / 255 * torch.randn_like(gt) for sigma in (25, 5))
    with torch.no_grad():
        exact = loss.double()(output.double(), gt.double(), lq.double())
        loss.float()
        for dtype in (torch.float16, torch.bfloat16):
            with torch.autocast('cpu', dtype):
                half = loss(output, gt, lq)
            assert abs(float(half / exact) - 1) < 0.01, dtype  # false of what is not finite
