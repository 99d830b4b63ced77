import pytest
import torch
from basicsr.losses import build_loss
from skimage.metrics import peak_signal_noise_ratio

from dinoir_plugin.losses.psnr_loss import PSNRLoss


def test_it_is_the_negative_psnr_of_each_image():
    torch.manual_seed(0)
    pred, target = torch.rand(2, 3, 3, 8, 9)
    mean = sum(peak_signal_noise_ratio(target[i].numpy(), pred[i].numpy(), data_range=1) for i in range(3)) / 3
    loss = build_loss({'type': 'PSNRLoss', 'loss_weight': 0.5})
    assert loss(pred, target).item() == pytest.approx(-mean / 2, abs=1e-4)


def test_small_errors_weigh_as_much_as_large_ones_down_to_eps():
    target = torch.rand(3, 3, 8, 8)
    sizes = torch.tensor([1e-1, 1e-2, 1e-4])
    pred = (target + sizes.view(-1, 1, 1, 1)).requires_grad_()
    PSNRLoss(eps=1e-6)(pred, target).backward()
    # what a step in proportion to the error gains
    gains = pred.grad.flatten(1).sum(1) * sizes
    assert gains[1].item() == pytest.approx(gains[0].item(), rel=0.02) and gains[2] < 0.02 * gains[0]


def test_an_image_without_error_has_a_finite_gradient_in_any_precision():
    image = torch.rand(1, 3, 8, 8)
    pred = image.bfloat16().requires_grad_()
    loss = PSNRLoss()(pred, image.bfloat16())
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(-80)
    assert pred.grad.isfinite().all()
