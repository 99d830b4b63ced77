import pytest
import torch
from basicsr.losses import build_loss
from torch.nn import functional as F

from dinoir_plugin.losses.edge_loss import EdgeLoss


def test_reproduces_the_authors_losses_and_their_gradient(golden):
    _, tensors = golden('mprnet_losses')
    pred = tensors['input/0'].double().requires_grad_()
    target = tensors['input/1'].double()
    charbonnier = build_loss({'type': 'CharbonnierLoss', 'eps': 1.0e-6})(pred, target)
    edge = build_loss({'type': 'EdgeLoss', 'loss_weight': 0.05})(pred, target)
    total = charbonnier + edge
    total.backward()
    for value, number in ((charbonnier, 0), (edge / 0.05, 1), (total, 2)):
        torch.testing.assert_close(value.float(), tensors[f'output/{number}'][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(pred.grad.float(), tensors['output/3'], rtol=1e-5, atol=1e-9)


def test_sees_edges_and_no_brightness():
    image = torch.rand(2, 3, 64, 70)
    shifted = F.pad(image, (1, 0, 0, 0), mode='replicate')[..., :-1]
    # of brightness the borders' two pixels see something, as with the authors
    assert EdgeLoss()(image + 0.3, image) < 0.02
    assert EdgeLoss()(shifted, image) > 0.2


def test_eps_and_weight():
    image = torch.rand(1, 3, 9, 9)
    assert EdgeLoss(loss_weight=2.0, eps=0.25)(image, image).item() == pytest.approx(2 * 0.5)


def test_keeps_its_digits_under_autocast():
    pred, target = torch.rand(2, 1, 3, 16, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = EdgeLoss()(pred, target)
        assert EdgeLoss()(pred.bfloat16(), target).dtype == torch.float32
    assert torch.equal(loss, EdgeLoss()(pred, target))


def test_has_no_state():
    assert not EdgeLoss().state_dict()
