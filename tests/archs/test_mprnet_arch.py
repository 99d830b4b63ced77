import copy
import hashlib
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.losses import build_loss
from basicsr.utils.registry import ARCH_REGISTRY
from torch.nn.parallel import DistributedDataParallel

from dinoir_plugin.archs.mprnet_arch import MPRNet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.nn.local_statistics import use_local_statistics
from tests.conftest import relative_error

TINY = {'n_feat': 8, 'scale_unetfeats': 4, 'scale_orsnetfeats': 4, 'num_cab': 1}
GOLDEN_ARGUMENTS = {**TINY, 'num_cab': 2}
OPTIONS = Path(__file__).parents[2] / 'options' / 'comparisons' / 'mprnet_derain.yml'
# widths, parameters, and the hash of the list of keys and shapes: derain, denoise, deblur
RELEASED = [
    ((40, 20, 16), 3_637_249, '0c40569b30dd51e5169a0a6a20bf317bbaea5ba344f145cab9ed91971b9adfc2'),
    ((80, 48, 32), 15_741_025, '79c4406ccf72a46f4dac27aa94200e65ea78577278f9d2853e195a8fb6f9398f'),
    ((96, 48, 32), 20_127_073, '23c28bae5868e50babb3ee49f0be038e3f3454782d2d29b0acf59e63db796858'),
]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MPRNet(**TINY)


@pytest.mark.parametrize(('dtype', 'error'), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
def test_reproduces_the_images_of_the_authors_three_stages(golden, dtype, error):
    params, tensors = golden('mprnet')
    net = MPRNet(**GOLDEN_ARGUMENTS)
    net.load_state_dict(params, strict=True)
    net.to(dtype)
    with torch.no_grad():
        outputs = net(tensors['input/0'].to(dtype))
        restored = net.eval()(tensors['input/0'].to(dtype))
    assert len(outputs.images) == 3
    for index, image in enumerate(outputs.images):
        assert relative_error(image, tensors[f'output/{index}']) < error
    assert torch.equal(restored, outputs.image)


@pytest.mark.parametrize(('widths', 'count', 'digest'), RELEASED)
def test_names_widths_and_number_of_parameters_of_the_releases(widths, count, digest):
    with torch.device('meta'):
        net = MPRNet(**dict(zip(('n_feat', 'scale_unetfeats', 'scale_orsnetfeats'), widths)))
    lines = [f'{key}\t{"x".join(map(str, value.shape))}' for key, value in net.state_dict().items()]
    assert len(lines) == 316
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == digest
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (3, 40), (1, 1)])
def test_takes_any_size(size, net):
    image = torch.rand(2, 3, *size)
    outputs = net(image)
    assert isinstance(outputs, Outputs)
    assert [stage.shape for stage in outputs.images] == [image.shape] * 3
    assert net.eval()(image).shape == image.shape


def test_images_of_a_batch_do_not_mix(net):
    images = torch.rand(3, 3, 16, 24)
    together = net.eval()(images)
    for image, restored in zip(images, together):
        torch.testing.assert_close(net(image[None])[0], restored, rtol=1e-4, atol=1e-5)


def test_stage_one_knows_nothing_of_the_other_half(net):
    """Rows are joined before its decoder, columns are not: quarters to a half, and no further."""
    image = torch.rand(1, 3, 32, 32)
    below, right = image.clone(), image.clone()
    below[:, :, 16:] = 0
    right[..., 16:] = 0
    upper, left = (slice(None), slice(None), slice(0, 16)), (..., slice(0, 16))
    _, (stage2, stage1) = net(image)[:2]
    _, (_, of_below) = net(below)[:2]
    _, (stage2_of_right, of_right) = net(right)[:2]
    assert torch.equal(of_below[upper], stage1[upper])
    assert (of_right - stage1)[left].abs().max() > 0
    assert (stage2_of_right - stage2)[left].abs().max() > 0


@pytest.mark.parametrize(
    ('index', 'unreached'),
    [
        (0, ()),
        (1, ('shallow_feat3', 'concat23', 'stage3_orsnet', 'tail', 'sam23.conv1', 'sam23.conv3')),
        (2, ('shallow_feat3', 'concat23', 'stage3_orsnet', 'tail', 'sam23',
             'shallow_feat2', 'concat12', 'stage2', 'sam12.conv1', 'sam12.conv3')),
    ],
)  # fmt: skip
def test_gradients_of_each_image_reach_what_made_it(index, unreached):
    torch.manual_seed(0)
    net = MPRNet(**TINY, reduction=1)  # a ReLU of two channels may well be shut
    net(torch.rand(2, 3, 24, 40)).images[index].square().sum().backward()
    for name, parameter in net.named_parameters():
        reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert reached != name.startswith(unreached), name


def test_blocks_share_one_activation(net):
    blocks = sum(type(module).__name__ == 'CAB' for module in net.modules())
    for twin in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        shared = [value for key, value in twin.state_dict(keep_vars=True).items() if key.endswith('.body.1.weight')]
        shared = [value for value in shared if value.shape == (1,)]
        assert len(shared) == blocks
        assert len({id(value) for value in shared}) == 1
        image = torch.rand(1, 3, 16, 24)
        assert torch.equal(twin.eval()(image), net.eval()(image))


def test_trains_in_a_process_group(net, tmp_path):
    """Two steps: what a first step left without gradient stops the second one."""
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(net)
        for _ in range(2):
            sum(image.square().sum() for image in wrapped(torch.rand(1, 3, 16, 16)).images).backward()
    finally:
        torch.distributed.destroy_process_group()


def test_local_statistics(net):
    net.eval().double()
    image = torch.rand(1, 3, 32, 128, dtype=torch.float64)
    with torch.no_grad():
        whole = net(image)
        count = use_local_statistics(net, 128)
        torch.testing.assert_close(net(image), whole)
        use_local_statistics(net, 32)
        assert (net(image) - whole).abs().max() > 1e-6
    assert count == sum(type(module).__name__ == 'CAB' for module in net.modules())


def test_is_built_from_its_options_file():
    options = yaml.safe_load(OPTIONS.read_text())
    network = options['network_g']
    with torch.device('meta'):
        net = ARCH_REGISTRY.get(network.pop('type'))(**network)
    assert sum(p.numel() for p in net.parameters()) == RELEASED[0][1]
    image = torch.rand(1, 3, 16, 16)
    losses = [build_loss(entry)(image, image) for key, entry in options['train'].items() if key.endswith('_opt')]
    # of equal images: sqrt(eps) = 1e-3 each, weighted with 1 and 0.05
    torch.testing.assert_close(torch.stack(losses), torch.tensor([1e-3, 5e-5]))


@pytest.mark.parametrize(
    ('change', 'path', 'problem'),
    [
        ({'out_c': 1}, 'out_c', 'expected 3 like in_c, as the output is added to the input, got 1'),
        ({'kernel_size': 4}, 'kernel_size', 'expected an odd number, got 4'),
        ({'reduction': 9}, 'reduction', 'expected a number from 1 to n_feat (8), got 9'),
    ],
)
def test_arguments_that_cannot_be_built(change, path, problem):
    with pytest.raises(OptionsError) as caught:
        MPRNet(**{**TINY, **change})
    assert caught.value.path == path
    assert problem in str(caught.value)
