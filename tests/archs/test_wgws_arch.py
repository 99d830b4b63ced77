import hashlib

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from dinoir_plugin.archs.wgws_arch import WGWSNet
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.nn.wgws_blocks import WeatherConv
from dinoir_plugin.testing.textbook.wgws import textbook_wgws
from tests.exporting import exported

# options, parameters, and the hash of the list of keys and shapes of the authors' networks
RELEASED = [
    ({'stage': 1}, 4_988_895, '22f4e2d7391c565ebdf53be28f3765e92c21c493d7a8bdb62c666db8858e8efa'),
    ({'kernel_size': 1}, 7_575_354, '89737d5452cd4b62c234c16b0822523ae7681ed5c7d4c29aff3ed80e5ac3f5ca'),
    ({'base_channel': 20}, None, '48f2e6f4112c9ed2c0c3315c1d49d18b3a5e747ce5b2c3f72771d8310350b374'),
    ({'kernel_size': 3}, 19_772_658, '88ea08f61ecb3c632ca18ec76dc3223445caabfef8546d34ac8562ef243d1b98'),
]
# convolutions with branches of a network with one block a level
COUNT = 6 * 4 + 24
FLAGS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0), (1, 1, 0)]
STAGE2 = [('wgws_stage2_k1', {'base_channel': 4}), ('wgws_stage2_k3', {'base_channel': 3, 'kernel_size': 3})]


def within(value, reference):
    return (value - reference).abs().max() <= 1e-6 * max(1.0, reference.abs().max().item())


def with_branches(net):
    """Lets branches count: residuals that are not zero, indicators on both sides of the threshold."""
    for name, parameter in net.named_parameters():
        if name.endswith('residual'):
            torch.nn.init.normal_(parameter, std=0.1)
        elif name.endswith('indicator'):
            torch.nn.init.uniform_(parameter, 0.05, 0.15)
    return net


@pytest.fixture
def net():
    torch.manual_seed(0)
    return with_branches(WGWSNet(base_channel=4, num_res=1, weathers=['rain', 'haze', 'noise']))


def test_reproduces_the_authors_image_of_stage_one(golden):
    params, tensors = golden('wgws_stage1')
    net = WGWSNet(base_channel=4, stage=1)
    net.load_state_dict(params, strict=True)
    with torch.no_grad():
        assert within(net.double()(tensors['input/0'].double()), tensors['output/0'])


@pytest.mark.parametrize(('name', 'options'), STAGE2)
def test_reproduces_the_authors_images_of_every_flag_and_the_gradients_of_the_indicators(name, options, golden):
    params, tensors = golden(name)
    net = WGWSNet(**options)
    net.load_state_dict(params, strict=True)
    net.double().eval()
    image = tensors['input/0'].double()
    with torch.no_grad():
        for number, flag in enumerate(FLAGS):
            assert within(net(image, flag=flag), tensors[f'output/{number}']), flag
        assert torch.equal(net(image), net(image, flag=FLAGS[0]))
    net(image, flag=FLAGS[1]).square().mean().backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if name.endswith('indicator')}
    assert len(gradients) == 168 * 3
    largest = max(tensors[f'grad/{name}'].abs().max().item() for name in gradients)
    assert largest > 0
    for name, gradient in gradients.items():
        assert (gradient - tensors[f'grad/{name}']).abs().max() <= 1e-6 * max(1.0, largest), name


@pytest.mark.parametrize(('options', 'count', 'digest'), RELEASED)
def test_names_widths_and_number_of_parameters_of_the_releases(options, count, digest):
    with torch.device('meta'):
        net = WGWSNet(**options)
    lines = [f'{key}\t{"x".join(map(str, value.shape))}' for key, value in net.state_dict().items()]
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == digest
    assert count in (None, sum(p.numel() for p in net.parameters()))


@pytest.mark.parametrize('options', [{'stage': 1}, {}, {'kernel_size': 3, 'num_weathers': 4}])
def test_values_and_gradients_are_those_of_branches_apart(options):
    torch.manual_seed(0)
    net = with_branches(WGWSNet(base_channel=4, num_res=2, **options)).double()
    flag = () if net.stage == 1 else (0.0, 1.0, *[0.5] * (net.num_weathers - 2))
    image = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    results = []
    for form in (lambda x: net(x, *[flag] if flag else []), lambda x: textbook_wgws(net, x, flag)):
        net.zero_grad()
        output = form(image)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters() if p.requires_grad)])
    for merged, plain in zip(*results):
        torch.testing.assert_close(merged, plain, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (3, 40), (1, 1)])
def test_takes_any_size(size, net):
    image = torch.rand(2, 3, *size)
    assert net(image, flag=(0, 1, 0)).shape == image.shape


def test_stage_two_learns_in_its_branches_alone_and_idle_ones_get_zeros(net):
    net(torch.rand(1, 3, 16, 16), flag=(0, 1, 0)).square().sum().backward()
    learning = {name for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {name for name, _ in net.named_parameters() if '.B' in name}
    for name in learning:
        gradient = net.get_parameter(name).grad
        if 'B2' not in name:
            assert gradient is not None and not gradient.any(), name
    assert any(p.grad.any() for name, p in net.named_parameters() if name in learning)


def test_a_stage_one_network_goes_into_stage_two_without_the_biases_of_its_convolutions(net):
    first = WGWSNet(base_channel=4, stage=1, num_res=1)
    result = net.load_state_dict(first.state_dict(), strict=False)
    assert len(result.unexpected_keys) == sum(isinstance(m, WeatherConv) for m in net.modules()) == COUNT
    assert all(key.endswith('bias') for key in result.unexpected_keys)
    assert all('.B' in key for key in result.missing_keys)


def test_flags_by_name_and_the_networks_own(net):
    image = torch.rand(1, 3, 16, 16)
    assert net.flag_of('haze') == (0.0, 1.0, 0.0)
    own = WGWSNet(base_channel=4, num_res=1, flag=[0, 1, 0])
    own.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(own(image), net(image, flag=net.flag_of('haze')))
        assert torch.equal(own(image), net(image, flag=torch.tensor([0, 1, 0])))
        assert not torch.equal(own(image), net(image))
    assert net.indicators((0, 1, 1)).shape == (2 * COUNT,)
    assert net.indicators((0, 1, 0))[0] == net.Encoder[0].layer1.conv0.conv.layer.B2_indicator


def test_trains_in_a_process_group(net, tmp_path):
    """Two steps under different flags: what a first step left without gradient stops the second one."""
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(net)
        for flag in FLAGS[:2]:
            wrapped(torch.rand(1, 3, 16, 16), flag=flag).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize('options', [{'stage': 1}, {'num_weathers': 4, 'flag': [0, 0, 1, 0]}])
def test_exported_for_any_size(options, tmp_path):
    torch.manual_seed(0)
    net = with_branches(WGWSNet(base_channel=4, num_res=1, **options)).eval()
    run = exported(net, {'type': 'WGWSNet', 'base_channel': 4, 'num_res': 1, **options}, tmp_path, 'onnx')
    for size in ((40, 52), (33, 70)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(run(image), net(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('change', 'path', 'problem'),
    [
        ({'flag': [1, 0]}, 'flag', 'expected 3 numbers, one for each of num_weathers, got [1, 0]'),
        ({'weathers': ['rain', 'haze']}, 'weathers', 'expected 3 different names, as many as num_weathers'),
        ({'weathers': ['rain', 'haze', 'rain']}, 'weathers', 'expected 3 different names, as many as num_weathers'),
    ],
)
def test_arguments_that_cannot_be_built(change, path, problem):
    with pytest.raises(OptionsError) as caught:
        WGWSNet(**{'base_channel': 4, **change})
    assert caught.value.path == path
    assert problem in str(caught.value)


def test_flags_that_a_network_does_not_take(net):
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match='expected 3 numbers'):
        net(image, flag=(1, 0, 0, 0))
    with pytest.raises(ValueError, match='a network of stage 1 has no branches'):
        WGWSNet(base_channel=4, stage=1)(image, flag=(1, 0, 0))
    with pytest.raises(OptionsError, match="no branch for the task 'hase'"):
        net.flag_of('hase')
