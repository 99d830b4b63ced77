import hashlib

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from dinoir_plugin.archs.transweather_arch import TransWeather, TransWeatherBase
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.testing.textbook.transweather import textbook_transweather
from tests.exporting import exported, needs_torch_2_14

TINY = {'embed_dims': (8, 16, 20, 32)}
FORMS = {'transweather': TransWeather, 'transweather_odd': TransWeather, 'transweather_base': TransWeatherBase}
# parameters, keys, and the hash of the list of keys and shapes of the release
RELEASED = [
    (TransWeather, 38_052_078, 347, 'b7c7b9ab722844cb3548262b2c82b4c18789cc7e9ec307d4171351f6c9d9b9e7'),
    (TransWeatherBase, 21_903_086, 288, '3461ee8b2165339dc5158134d7f2dcde54146d784f6339f4d0ff30c41f9220e8'),
]
UNUSED = ('Tenc.mini_patch_embed4.', 'convtail.conv_output.', 'convproj.conv_output.')


@pytest.fixture(params=[TransWeather, TransWeatherBase])
def net(request):
    torch.manual_seed(0)
    return request.param(**TINY)


def within(value, reference):
    return (value - reference).abs().max() <= 1e-6 * max(1.0, reference.abs().max().item())


@pytest.mark.parametrize('name', FORMS)
def test_reproduces_the_authors_image_and_features(name, golden):
    params, tensors = golden(name)
    net = FORMS[name](**TINY)
    net.load_state_dict(params, strict=True)
    net.double().eval()
    with torch.no_grad():
        image = tensors['input/0'].double()
        assert within(net(image), tensors['output/0'])
        for number, feature in enumerate(net.Tenc(image), start=1):
            assert within(feature, tensors[f'output/{number}'])
        net.normalize = True
        assert within(net((image + 1) / 2), tensors['output/0'])


@pytest.mark.parametrize(('kind', 'count', 'keys', 'digest'), RELEASED)
def test_names_widths_and_number_of_parameters_of_the_releases(kind, count, keys, digest):
    with torch.device('meta'):
        net = kind()
    lines = [f'{key}\t{"x".join(map(str, value.shape))}' for key, value in net.state_dict().items()]
    assert len(lines) == keys
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest() == digest
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize('size', [(64, 64), (80, 128), (128, 48)])
def test_values_and_gradients_are_the_textbooks(size, net):
    net.double().eval()
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    results = []
    for form in (net, lambda x: textbook_transweather(net, x)):
        net.zero_grad()
        output = form(image)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters() if p.requires_grad)])
    for fast, plain in zip(*results):
        torch.testing.assert_close(fast, plain, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('size', [(64, 96), (49, 70), (3, 100), (1, 1)])
def test_takes_any_size(size, net):
    image = torch.rand(2, 3, *size)
    assert net.eval()(image).shape == image.shape


def test_parameters_that_are_not_used_do_not_learn(net, tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(net)
        for _ in range(2):
            wrapped(torch.rand(2, 3, 64, 64)).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == name.startswith(UNUSED), name


def test_blocks_are_left_out_in_training_alone(net):
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.manual_seed(0)
        assert len({net(image).sum().item() for _ in range(20)}) > 1
        net.eval()
        assert torch.equal(net(image), net(image))
    rates = [block.drop for stage in (1, 2, 3, 4) for block in getattr(net.Tenc, f'block{stage}')]
    assert rates == pytest.approx([0.1 * number / 7 for number in range(8)])
    still = type(net)(**TINY, drop_path_rate=0.0)
    with torch.no_grad():
        assert torch.equal(still(image), still(image))


@needs_torch_2_14
def test_exported_for_any_size(tmp_path):
    torch.manual_seed(0)
    net = TransWeather(**TINY).eval()
    run = exported(net, {'type': 'TransWeather', **TINY}, tmp_path, 'onnx')
    least = max(net.size_minimum, net.graph_minimum)
    for size in ((least, max(least, 64)), (66, 65), (101, 67), (150, 203)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(run(image), net(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('change', 'path', 'problem'),
    [
        ({'embed_dims': (8, 16, 20)}, 'embed_dims', 'expected 4 numbers, one a stage, got 3'),
        ({'num_heads': (1, 2, 4, 5)}, 'num_heads', 'got 5 for 32'),
        ({'num_heads': (3, 2, 4, 4)}, 'num_heads', 'got 3 for 8'),
        ({'decoder_heads': 5}, 'decoder_heads', 'expected a divisor of the last of embed_dims (32), got 5'),
    ],
)
def test_arguments_that_cannot_be_built(change, path, problem):
    with pytest.raises(OptionsError) as caught:
        TransWeather(**{**TINY, **change})
    assert caught.value.path == path
    assert problem in str(caught.value)
