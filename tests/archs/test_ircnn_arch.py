import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin import Restorer
from dinoir_plugin.archs.ircnn_arch import IRCNN, IRCNN25
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.nn.noise_level import estimate_sigma
from dinoir_plugin.testing.textbook.dncnn import textbook_stack
from tests.exporting import exported, needs_torch_2_14


@pytest.fixture
def pack():
    torch.manual_seed(0)
    return IRCNN25(nc=4)


def difference(value, reference):
    return ((value - reference).abs().max() / max(1, reference.abs().max())).item()


def noisy(*sigmas):
    """An image for each level, of 255."""
    torch.manual_seed(0)
    return torch.stack([0.5 + torch.randn(3, 32, 40) * sigma / 255 for sigma in sigmas])


def test_reproduces_the_authors_image(golden):
    params, tensors = golden('ircnn')
    net = IRCNN(nc=12)
    net.load_state_dict(params, strict=True)
    assert difference(net.double()(tensors['input/0'].double()), tensors['output/0']) < 1e-6


def test_values_and_gradients():
    torch.manual_seed(0)
    net = IRCNN(nc=4).double()
    image = torch.rand(2, 3, 11, 14, dtype=torch.float64)
    results = []
    for output in (net(image), image - textbook_stack(net.model, image)):
        net.zero_grad()
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters())])
    for ours, plain in zip(*results):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-9)


def test_names_and_number_of_parameters_of_the_colour_release():
    shapes = {}
    for index in range(0, 14, 2):
        shapes[f'model.{index}.weight'] = (3 if index == 12 else 64, 3 if index == 0 else 64, 3, 3)
        shapes[f'model.{index}.bias'] = (3 if index == 12 else 64,)
    assert {name: tuple(value.shape) for name, value in IRCNN().state_dict().items()} == shapes
    assert sum(p.numel() for p in IRCNN().parameters()) == 188_163
    assert sum(p.numel() for p in IRCNN(1, 1).parameters()) == 185_857
    with torch.device('meta'):
        pack = IRCNN25()
    expected = {f'{number}.{name}': shape for number in range(25) for name, shape in shapes.items()}
    assert {name: tuple(value.shape) for name, value in pack.state_dict().items()} == expected


def test_reproduces_the_authors_choice_among_the_25(golden, tmp_path):
    params, tensors = golden('ircnn_pack25')
    nested = {}
    for key, value in params.items():
        number, _, name = key.partition('/')
        nested.setdefault(number, {})[name] = value
    torch.save(nested, tmp_path / 'ircnn_color.pth')
    network = {'type': 'IRCNN25', 'nc': 3}
    net = Restorer.from_checkpoint(tmp_path / 'ircnn_color.pth', network=network, device='cpu').network.double()
    image = tensors['input/0'].double()
    sigmas = tensors['sigma'].tolist()
    single = [net(image, sigma=sigma) for sigma in sigmas]
    for index, restored in enumerate(single):
        assert difference(restored, tensors[f'output/{index}']) < 1e-6
    together = net(image.expand(len(sigmas), -1, -1, -1), torch.tensor(sigmas))
    torch.testing.assert_close(together, torch.cat(single))


@pytest.mark.parametrize(
    ('sigma', 'number'), [(0, 0), (0.5, 0), (2, 0), (2.1, 1), (15, 7), (25, 12), (50, 24), (255, 24)]
)
def test_the_network_for_a_level(pack, sigma, number):
    image = torch.rand(2, 3, 9, 8)
    torch.testing.assert_close(pack(image, sigma), pack.get_submodule(str(number))(image))


def test_what_is_not_told_is_estimated_for_each_image(pack):
    images = noisy(10, 24.5, 41)
    levels = estimate_sigma(images) * 255
    assert levels.tolist() == pytest.approx([10, 24.5, 41], rel=0.1)
    torch.testing.assert_close(pack(images), pack(images, levels))
    torch.testing.assert_close(pack(images), torch.cat([pack(image[None]) for image in images]))


def test_an_image_teaches_the_network_that_is_chosen_for_it(pack):
    pack(torch.rand(3, 3, 8, 8), torch.tensor([25.0, 3.0, 25.0])).square().sum().backward()
    taught = {name.split('.')[0] for name, p in pack.named_parameters() if p.grad is not None}
    assert taught == {'1', '12'}


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (2, 1), (1, 1)])
def test_takes_any_size(size, pack):
    image = torch.rand(2, 3, *size)
    for net in (pack, IRCNN(nc=4)):
        assert net(image).shape == image.shape


@needs_torch_2_14
def test_exported_with_the_estimate_and_the_choice(pack, tmp_path):
    run = exported(pack, {'type': 'IRCNN25', 'nc': 4}, tmp_path, 'onnx')
    for image in noisy(5, 31, 50)[:, None]:
        torch.testing.assert_close(run(image), pack(image), rtol=0, atol=1e-5)
        wide = F.pad(image, (0, 30, 0, 0), mode='reflect')
        torch.testing.assert_close(run(wide), pack(wide), rtol=0, atol=1e-5)


def test_images_of_a_batch_are_guided_each_by_its_own_condition(encoder_options):
    torch.manual_seed(0)
    net = DINOIRArch({'type': 'IRCNN25', 'nc': 4}, encoder_options, ['layers.[25]']).eval()
    assert net.guided == ['layers.2', 'layers.5']
    images = noisy(10, 45)
    with torch.no_grad():
        alone = torch.cat([net(image[None]) for image in images])
        torch.testing.assert_close(net(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('sigma', [-1, 256, float('nan'), torch.tensor(25.0), torch.tensor([25.0, 25.0, 25.0])])
def test_levels_that_cannot_be(pack, sigma):
    with pytest.raises(ValueError, match='expected a sigma from 0 to 255'):
        pack(torch.rand(2, 3, 8, 8), sigma)


@pytest.mark.parametrize('kind', [IRCNN, IRCNN25])
def test_arguments_that_cannot_be_built(kind):
    with pytest.raises(OptionsError) as caught:
        kind(out_nc=1)
    assert caught.value.path == 'out_nc'
