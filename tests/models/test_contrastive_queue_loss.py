import pytest
import torch
from basicsr.losses import build_loss
from torch.nn import functional as F

from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.models.batch import Batch


def outputs(logits):
    return Outputs(torch.zeros(len(logits), 3, 4, 4), aux={'logits': logits, 'labels': torch.zeros(len(logits)).long()})


def test_the_authors_value(golden):
    _, tensors = golden('airnet_train')
    loss = build_loss({'type': 'ContrastiveQueueLoss', 'loss_weight': 0.1})
    value = loss.of_step(outputs(tensors['output/1'].double()), Batch(torch.zeros(5, 3, 4, 4)))
    torch.testing.assert_close(value, 0.1 * tensors['output/3'].double().squeeze(), rtol=1e-5, atol=1e-6)
    assert not loss.state_dict()


def test_half_precision_keeps_its_digits():
    logits = 10 * torch.randn(4, 50).bfloat16()
    value = build_loss({'type': 'ContrastiveQueueLoss'}).of_step(outputs(logits), Batch(torch.zeros(4, 3, 4, 4)))
    torch.testing.assert_close(value, F.cross_entropy(logits.float(), torch.zeros(4).long()))


@pytest.mark.parametrize(('others', 'said'), [({}, 'items with a key'), ({'key': torch.zeros(1)}, 'for AirNet$')])
def test_without_logits_it_says_what_is_missing(others, said):
    batch = Batch(torch.zeros(1, 3, 4, 4), others=others)
    with pytest.raises(ValueError, match=said):
        build_loss({'type': 'ContrastiveQueueLoss'}).of_step(Outputs(batch.lq), batch)
