import copy
import hashlib

import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.archs.airnet_arch import AirNet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.testing.textbook.airnet import textbook_airnet
from tests.exporting import exported

TINY = {'n_feats': 8, 'n_groups': 2, 'n_blocks': 1, 'encoder_widths': (8, 12, 16), 'dim': 16, 'batch_size': 5}
# of the list of keys and shapes of the release for five degradations
RELEASED = '14a11ad4b681faf9cad29531b8c5848832e162a92f5187e11db0b3eda9d481eb'


@pytest.fixture
def net():
    torch.manual_seed(0)
    return AirNet(**TINY)


def difference(value, reference):
    return ((value - reference).abs().max() / max(1, reference.abs().max())).item()


def test_reproduces_the_authors_image_map_and_embedding(golden, net):
    params, tensors = golden('airnet_eval')
    net.load_state_dict(params, strict=True)
    net.double().eval()
    image = tensors['input/0'].double()
    encoder = net.E.E.encoder_q
    with torch.no_grad():
        degradation = encoder.E_pre(image)
        found = [net(image), degradation, encoder.E(degradation).flatten(1)]
        assert torch.equal(net(image, torch.rand(2, 3, 16, 20)), found[0]), 'a key is looked at in evaluation'
    for index, value in enumerate(found):
        assert difference(value, tensors[f'output/{index}']) < 1e-6


def test_reproduces_the_authors_training_step_and_what_it_leaves_behind(golden, net):
    params, tensors = golden('airnet_train')
    net.load_state_dict(params, strict=True)
    net.double()
    outputs = net(tensors['input/0'].double(), tensors['input/1'].double())
    logits, labels = outputs.aux['logits'], outputs.aux['labels']
    contrast = F.cross_entropy(logits, labels)
    l1 = F.l1_loss(outputs.image, tensors['input/2'].double())
    for index, value in enumerate([outputs.image, logits, labels, contrast, l1, l1 + 0.1 * contrast]):
        assert difference(value, tensors[f'output/{index}']) < 1e-6
    state = net.state_dict()
    changed = {key for key in state if not torch.equal(state[key], params[key].to(state[key].dtype))}
    assert changed == {key.removeprefix('after/') for key in tensors if key.startswith('after/')}
    for key in changed:
        assert difference(state[key], tensors[f'after/{key}']) < 1e-6
    (l1 + 0.1 * contrast).backward()
    still = {name.split('.')[2] for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert still == {'encoder_k'}


def test_values_and_gradients(net):
    for name, parameter in net.named_parameters():
        if 'conv_offset_mask' in name:
            torch.nn.init.normal_(parameter, std=0.2)
    net.double()
    image = torch.rand(2, 3, 12, 9, dtype=torch.float64)
    results = []
    for output in (net(image), textbook_airnet(net, image)):
        net.zero_grad()
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-9)


def test_names_shapes_and_number_of_parameters_of_the_release():
    with torch.device('meta'):
        net = AirNet()
    lines = [f'{key}\t{"x".join(map(str, value.shape))}' for key, value in net.state_dict().items()]
    assert len(lines) == 584
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == RELEASED
    assert sum(p.numel() for p in net.parameters()) == 8_930_313
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 7_610_377
    assert AirNet(**{**TINY, 'batch_size': 3}).state_dict()['E.E.queue'].shape == (16, 48)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (2, 1), (1, 1)])
def test_takes_any_size(size, net):
    assert net.eval()(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_without_keys_nothing_is_compared(net):
    before = copy.deepcopy({name: value for name, value in net.state_dict().items() if 'encoder_q' not in name})
    image = torch.rand(2, 3, 16, 20)
    restored = net(image)
    assert isinstance(restored, torch.Tensor) and restored.shape == image.shape
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_the_queue_takes_keys_in_turn_and_begins_again(net):
    """80 places, 32 keys a step: the third step fills the last 16 and the first 16."""
    queues, keys = [], []
    net.E.E.encoder_k.register_forward_hook(lambda module, inputs, output: keys.append(F.normalize(output[1])))
    for _ in range(3):
        queues.append(net.E.E.queue.clone())
        net(torch.rand(32, 3, 8, 8), torch.rand(32, 3, 8, 8))
    moco = net.E.E
    assert moco.queue_ptr.item() == 16
    expected = torch.cat([keys[2][16:], keys[0][16:], keys[1], keys[2][:16]]).T
    torch.testing.assert_close(moco.queue, expected)
    torch.testing.assert_close(queues[1][:, 32:], queues[0][:, 32:])
    with pytest.raises(ValueError, match='at most 80 samples in a step, as many as the queue holds, got 96'):
        net(torch.rand(96, 3, 4, 4), torch.rand(96, 3, 4, 4))


def test_the_key_encoder_follows_the_other_one(net):
    of_keys, of_queries = net.E.E.encoder_k.mlp[0].weight, net.E.E.encoder_q.mlp[0].weight
    with torch.no_grad():
        of_queries.add_(1)
    before = of_keys.clone()
    net(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    torch.testing.assert_close(of_keys - before, torch.full_like(before, 1e-3), rtol=1e-3, atol=1e-7)
    assert not of_keys.requires_grad


def test_the_restorer_rests_while_the_encoder_learns_alone(net):
    net.R.requires_grad_(False)
    query, key = torch.rand(2, 2, 3, 8, 8)
    outputs = net(query, key)
    assert outputs.image is query
    F.cross_entropy(outputs.aux['logits'], outputs.aux['labels']).backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
    with torch.no_grad():
        net.requires_grad_(False)
        assert isinstance(net(query, key), Outputs) and net(query, key).image is not query


def test_the_key_comes_closer_than_the_queue(net):
    """Six looks; what counts begins where keys have filled the queue."""
    torch.manual_seed(0)
    looks = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1, 1).repeat(2, 3, 8, 8)
    looks[3:, :, ::2] = 0
    net.R.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    leads = []
    for _ in range(80):
        query, key = (looks + 0.05 * torch.randn(2, *looks.shape)).unbind()
        aux = net(query, key).aux
        leads.append((aux['logits'][:, 0] - aux['logits'][:, 1:].mean(1)).mean().item())
        optimizer.zero_grad()
        F.cross_entropy(aux['logits'], aux['labels']).backward()
        optimizer.step()
    assert sum(leads[-10:]) > 1.1 * sum(leads[20:30])


def test_exported_for_any_size_with_its_deformable_convolutions(tmp_path):
    options = {**TINY, 'n_groups': 1}
    net = AirNet(**options).eval()
    for name, parameter in net.named_parameters():
        if 'conv_offset_mask' in name:
            torch.nn.init.normal_(parameter, std=0.5)
    run = exported(net, {'type': 'AirNet', **options}, tmp_path, 'onnx')
    for size in ((32, 33), (77, 130)):
        image = torch.rand(1, 3, *size)
        torch.testing.assert_close(run(image), net(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('change', 'path', 'problem'),
    [
        ({'encoder_widths': (8, 12)}, 'encoder_widths', 'expected 3 numbers, got 2'),
        ({'encoder_widths': (6, 12, 16)}, 'encoder_widths', 'expected 8 like n_feats first'),
        ({'batch_size': 0}, 'batch_size', 'expected a number from 1, got 0'),
    ],
)
def test_arguments_that_cannot_be_built(change, path, problem):
    with pytest.raises(OptionsError) as caught:
        AirNet(**{**TINY, **change})
    assert caught.value.path == path
    assert problem in str(caught.value)
