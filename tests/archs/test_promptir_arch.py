import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from dinoir_plugin.archs.promptir_arch import PromptGenerator, PromptIR
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.recompute import recompute_modules
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.nn.local_statistics import use_local_statistics
from dinoir_plugin.testing.textbook.promptir import textbook_promptir
from tests.exporting import exported

TINY = {
    'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1, 'heads': [1, 2, 4, 8],
    'prompt_dims': [4, 8, 12], 'prompt_sizes': [8, 4, 3], 'prompt_len': 3,
}  # fmt: skip
# a block each where prompts are, and one at the bottom
SHALLOW = {**TINY, 'num_blocks': [0, 0, 0, 1], 'num_refinement_blocks': 0}
UNUSED = {
    'chnl_reduce1', 'chnl_reduce2', 'chnl_reduce3',
    'reduce_noise_channel_1', 'reduce_noise_channel_2', 'reduce_noise_channel_3',
}  # fmt: skip


@pytest.fixture
def net():
    torch.manual_seed(0)
    return PromptIR(**TINY)


def block_shapes(name, width, heads):
    hidden = int(width * 2.66)
    return {
        f'{name}.norm1.body.weight': (width,),
        f'{name}.norm1.body.bias': (width,),
        f'{name}.attn.temperature': (heads, 1, 1),
        f'{name}.attn.qkv.weight': (width * 3, width, 1, 1),
        f'{name}.attn.qkv_dwconv.weight': (width * 3, 1, 3, 3),
        f'{name}.attn.project_out.weight': (width, width, 1, 1),
        f'{name}.norm2.body.weight': (width,),
        f'{name}.norm2.body.bias': (width,),
        f'{name}.ffn.project_in.weight': (hidden * 2, width, 1, 1),
        f'{name}.ffn.dwconv.weight': (hidden * 2, 1, 3, 3),
        f'{name}.ffn.project_out.weight': (width, hidden, 1, 1),
    }


def test_names_widths_and_number_of_parameters_of_the_release():
    shapes = {
        'patch_embed.proj.weight': (48, 3, 3, 3),
        'prompt1.prompt_param': (1, 5, 64, 64, 64),
        'prompt2.prompt_param': (1, 5, 128, 32, 32),
        'prompt3.prompt_param': (1, 5, 320, 16, 16),
        'chnl_reduce1.weight': (64, 64, 1, 1),
        'chnl_reduce2.weight': (128, 128, 1, 1),
        'chnl_reduce3.weight': (256, 320, 1, 1),
        'reduce_noise_channel_1.weight': (48, 112, 1, 1),
        'reduce_noise_channel_2.weight': (96, 224, 1, 1),
        'reduce_noise_channel_3.weight': (192, 448, 1, 1),
        'down1_2.body.0.weight': (24, 48, 3, 3),
        'down2_3.body.0.weight': (48, 96, 3, 3),
        'down3_4.body.0.weight': (96, 192, 3, 3),
        'reduce_noise_level3.weight': (192, 704, 1, 1),
        'up4_3.body.0.weight': (384, 192, 3, 3),
        'reduce_chan_level3.weight': (192, 288, 1, 1),
        'reduce_noise_level2.weight': (192, 320, 1, 1),
        'up3_2.body.0.weight': (384, 192, 3, 3),
        'reduce_chan_level2.weight': (96, 192, 1, 1),
        'reduce_noise_level1.weight': (96, 160, 1, 1),
        'up2_1.body.0.weight': (192, 96, 3, 3),
        'output.weight': (3, 96, 3, 3),
        **block_shapes('noise_level1', 160, 4),
        **block_shapes('noise_level2', 320, 4),
        **block_shapes('noise_level3', 704, 4),
    }
    for number, width in ((1, 96), (2, 192), (3, 384)):
        dim = shapes[f'prompt{number}.prompt_param'][2]
        shapes[f'prompt{number}.linear_layer.weight'] = (5, width)
        shapes[f'prompt{number}.linear_layer.bias'] = (5,)
        shapes[f'prompt{number}.conv3x3.weight'] = (dim, dim, 3, 3)
    for name, width, heads, count in (
        ('encoder_level1', 48, 1, 4), ('encoder_level2', 96, 2, 6), ('encoder_level3', 192, 4, 6),
        ('latent', 384, 8, 8), ('decoder_level3', 192, 4, 6), ('decoder_level2', 96, 2, 6),
        ('decoder_level1', 96, 1, 4), ('refinement', 96, 1, 4),
    ):  # fmt: skip
        for number in range(count):
            shapes.update(block_shapes(f'{name}.{number}', width, heads))
    with torch.device('meta'):
        net = PromptIR()
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == shapes
    # the paper says 35.59 M
    assert sum(p.numel() for p in net.parameters()) == 35_592_263


@pytest.mark.parametrize(('norm', 'bias', 'size'), [('WithBias', False, (24, 40)), ('BiasFree', True, (64, 64))])
def test_values_and_gradients(norm, bias, size):
    torch.manual_seed(0)
    net = PromptIR(**TINY, LayerNorm_type=norm, bias=bias).double()
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    results = []
    for form in (net, lambda x: textbook_promptir(net, x)):
        net.zero_grad()
        output = form(image)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in net.parameters() if p.requires_grad)])
    for fast, plain in zip(*results):
        torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize('size', [(16, 16), (17, 31), (3, 40), (1, 1)])
def test_takes_any_size(size, net):
    assert net(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_state_dicts_fit_in_both_directions(net):
    net.requires_grad_(True)  # what a release's file says of an unused layer is kept as well
    other = PromptIR(**TINY)
    other.load_state_dict(net.state_dict(), strict=True)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())
    image = torch.rand(1, 3, 16, 24)
    assert torch.equal(other(image), net(image))
    net.load_state_dict(other.state_dict(), strict=True)


def test_gradients_reach_all_but_the_unused_layers(net):
    assert {name.split('.')[0] for name, p in net.named_parameters() if not p.requires_grad} == UNUSED
    net(torch.rand(2, 3, 24, 24)).square().sum().backward()
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name


def test_trains_in_a_process_group(net, tmp_path):
    """Two steps: what a first step left without gradient stops the second one."""

    def train(network):
        for _ in range(2):
            network(torch.rand(1, 3, 16, 16)).square().sum().backward()

    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        train(DistributedDataParallel(net))
        net.requires_grad_(True)
        with pytest.raises(RuntimeError, match='not used in producing loss'):
            train(DistributedDataParallel(net))
    finally:
        torch.distributed.destroy_process_group()


def test_checkpointing_gives_the_same_gradients(net):
    image = torch.rand(1, 3, 16, 24)
    gradients = []
    for names in ([], ['encoder_level*', 'latent', 'prompt*', 'noise_level*', 'decoder_level*', 'refinement']):
        found = recompute_modules(net, names)
        net.zero_grad()
        net(image).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.requires_grad])
    assert len(found) == 14
    torch.testing.assert_close(*gradients)


def test_local_statistics():
    torch.manual_seed(0)
    net = PromptIR(**SHALLOW).requires_grad_(False).double()
    for parameter in net.parameters():
        parameter.normal_(0, 0.3)
    image = torch.rand(1, 3, 64, 512, dtype=torch.float64)
    changed = image.clone()
    changed[..., -40:] = 0
    corner = (..., slice(0, 40))
    whole = net(image)
    assert (whole - net(changed))[corner].abs().max() > 1e-6
    assert use_local_statistics(net, 512) == 4 + 3
    torch.testing.assert_close(net(image), whole, rtol=1e-9, atol=1e-9)
    use_local_statistics(net, 64)
    local = net(image)
    assert (local - whole).abs().max() > 1e-4
    torch.testing.assert_close(local[corner], net(changed)[corner], rtol=0, atol=1e-12)


def test_a_window_has_the_prompt_of_a_image_of_its_own():
    torch.manual_seed(0)
    prompt = PromptGenerator(dim=4, count=3, size=5, feature_dim=6).double()
    prompt.conv3x3.weight.data[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0  # sees no neighbours
    feature = torch.rand(2, 6, 16, 64, dtype=torch.float64)
    with torch.no_grad():
        prompt.window_share = (1.0, 0.25)
        local = prompt(feature)
        prompt.window_share = None
        # windows of 16 overlap by 4; the first one alone counts in its first 12 columns but for the fading
        torch.testing.assert_close(local[..., :12], prompt(feature[..., :16])[..., :12])


def test_exported_for_any_size(tmp_path):
    torch.manual_seed(0)
    net = PromptIR(**SHALLOW).requires_grad_(False)
    run = exported(net, {'type': 'PromptIR', **SHALLOW}, tmp_path, 'pt2')
    for size in ((32, 33), (77, 130)):
        image = torch.rand(1, 3, *size)
        torch.testing.assert_close(run(image), net(image), rtol=0, atol=1e-4)


def test_is_guided_by_options_alone(encoder_options):
    guide_at = ['encoder_level*', 'latent', 'decoder_level*', 'prompt*', 'noise_level*']
    net = DINOIRArch({'type': 'PromptIR', **TINY}, encoder_options, guide_at)
    assert len(net.guided) == 13
    net(torch.rand(1, 3, 24, 40)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ('change', 'path', 'problem'),
    [
        ({'decoder': False}, 'decoder', 'is Restormer'),
        ({'LayerNorm_type': 'Withbias'}, 'LayerNorm_type', "'WithBias'"),
        ({'heads': [1, 2, 4]}, 'heads', '4 numbers'),
        ({'prompt_dims': [4, 8, 13]}, 'heads', 'features with prompts, 20, 40, 77, got 4. prompt_dims changes'),
        ({'prompt_dims': [4, 8]}, 'prompt_dims', '3 numbers from 1 (level 1, 2, 3), got [4, 8]'),
        ({'prompt_sizes': [4, 0, 2]}, 'prompt_sizes', 'got [4, 0, 2]'),
        ({'prompt_len': 0}, 'prompt_len', 'from 1, got 0'),
    ],
)
def test_arguments_that_cannot_be_built(change, path, problem):
    with pytest.raises(OptionsError) as caught:
        PromptIR(**{**TINY, **change})
    assert caught.value.path == path
    assert problem in str(caught.value)
