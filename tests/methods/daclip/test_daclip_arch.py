"""DACLIPArch: backbones guided by DA-CLIP, from training to exported graphs."""

import copy

import numpy as np
import pytest
import torch
from basicsr.models import build_model
from PIL import Image
from skimage import data
from torchvision import transforms

from dinoir_plugin import Restorer
from dinoir_plugin.core import network_file
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.inference.tiling import restore_image
from dinoir_plugin.methods.daclip import DACLIPArch
from dinoir_plugin.methods.daclip.encoder import frozen_daclip
from dinoir_plugin.methods.daclip.preprocessing import MEAN, STD, clip_image, clip_views
from dinoir_plugin.restore import memory
from tests.exporting import exported
from tests.methods.daclip.test_frozen_daclip import TINY

DACLIP = {'weights': 'random', 'model_args': TINY}
NAFNET = {'type': 'NAFNet', 'width': 8, 'middle_blk_num': 1, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}
PROMPT_NAFNET = {**NAFNET, 'type': 'PromptNAFNet', 'width': 16, 'context_dim': 16}
PLACES = ['middle_blks', 'decoders.*']
# backbone and guide_at
KINDS = [(NAFNET, PLACES), (PROMPT_NAFNET, []), (PROMPT_NAFNET, PLACES)]


def made(backbone, guide_at, **others):
    torch.manual_seed(0)
    return DACLIPArch(copy.deepcopy(backbone), copy.deepcopy(DACLIP), guide_at, **others)


def strong(net):
    """Give all parts a say: guidance starts at zero."""
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return net.eval()


def run_options(folder, backbone, guide_at):
    names = ('models', 'training_states', 'visualization', 'experiments_root')
    return {
        'name': 'guided', 'model_type': 'RestorationModel', 'num_gpu': 0, 'dist': False, 'is_train': True, 'rank': 0,
        'world_size': 1, 'manual_seed': 0, 'logger': {},
        'network_g': copy.deepcopy(
            {'type': 'DACLIPArch', 'backbone': backbone, 'daclip': DACLIP, 'guide_at': guide_at}
        ),
        'datasets': {'train': {'name': 'x', 'tasks': {'blur': {}}, 'gt_size': 32}},
        'path': {name: str(folder) for name in names},
        'train': {
            'total_iter': 4, 'ema_decay': 0, 'optim_g': {'type': 'AdamW', 'lr': 1.0e-2},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]}, 'pixel_opt': {'type': 'L1Loss'},
        },
    }  # fmt: skip


@pytest.mark.parametrize(('backbone', 'guide_at'), KINDS)
def test_is_trained_saved_and_restores_in_tiles(backbone, guide_at, tmp_path):
    torch.manual_seed(0)
    model = build_model(run_options(tmp_path, backbone, guide_at))
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    assert not any(name.startswith(('daclip', 'encoder')) for name in before)
    for iteration in (1, 2, 3):
        batch = {name: torch.rand(2, 3, 32, 32) for name in ('lq', 'gt')}
        model.feed_data({**batch, 'task': ['blur', 'blur'], 'lq_path': ['a', 'b']})
        model.optimize_parameters(iteration)
    learning = [name for name, p in model.net_g.state_dict(keep_vars=True).items() if p.requires_grad]
    assert not [name for name in learning if torch.equal(model.net_g.state_dict()[name], before[name])]
    assert ('prompt' in before) == bool(guide_at)

    strong(model.net_g)
    model.save(0, 4)
    path = tmp_path / 'net_g_4.pth'
    assert set(network_file.read(path).description.encoders) == {'daclip'}
    restorer = Restorer.from_checkpoint(path, device='cpu')
    image = torch.rand(3, 70, 52)
    with torch.no_grad():
        expected = model.net_g(image[None])[0].clamp(0, 1)
    torch.testing.assert_close(restorer.restore(image), expected, rtol=0, atol=1e-5)
    encoder, seen = model.net_g.encoder, []
    handle = encoder._net.visual.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    with torch.no_grad():
        tiled = restore_image(model.net_g, image[None], tile=32, overlap=16)
    handle.remove()
    assert tiled.shape == (1, *image.shape) and seen == [1], 'embeddings are those of the whole image'


def test_other_weights_of_da_clip_are_refused(tmp_path):
    model = build_model(run_options(tmp_path, NAFNET, PLACES))
    model.save(0, 1)
    path = tmp_path / 'net_g_1.pth'
    file = network_file.read(path)
    file.description.encoders['daclip'][:] = [1.0, 1.0, 1.0, 1.0]
    network_file.write(path, file)
    with pytest.raises(OptionsError, match=r'network_g\.daclip\.weights'):
        Restorer.from_checkpoint(path, device='cpu')


@pytest.mark.parametrize('channels_last', [False, True])
def test_starts_as_its_backbone_and_keeps_the_layout(channels_last):
    net = made(NAFNET, PLACES).eval()
    image = torch.rand(2, 3, 32, 40)
    with torch.no_grad():
        guided = net(image)
        torch.testing.assert_close(guided, bare(net)(image), rtol=0, atol=0)
    injector = net.method.injector(8)
    strong(injector)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    feature = torch.rand(2, 8, 6, 5).contiguous(memory_format=layout)
    assert injector(feature, net.condition(image)).is_contiguous(memory_format=layout)


def bare(net):
    """Give the backbone alone."""
    from basicsr.archs import build_network

    network = build_network(copy.deepcopy(NAFNET))
    network.load_state_dict({name: net.state_dict()[key] for name, key in net.released_names().items()})
    return network.eval()


@pytest.mark.parametrize(('told', 'field'), [('use_degra_context', 'degradation'), ('use_image_context', 'content')])
def test_either_embedding_can_be_left_out(told, field):
    others = {'use_degra_context': False, 'use_image_context': False, told: True}
    net = strong(made(NAFNET, PLACES, **others))
    assert ('prompt' in net.state_dict()) == (told == 'use_degra_context')
    image = torch.rand(1, 3, 32, 32)
    encodings = net.encode(image)
    assert set(encodings) == {'content', 'degradation'}
    with torch.no_grad():
        for name, embedding in encodings.items():
            changed = net(image, {**encodings, name: embedding + 9})
            assert torch.equal(changed, net(image)) == (name != field)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(('backbone', 'guide_at'), KINDS[:2])
def test_half_precision_keeps_its_digits(dtype, backbone, guide_at):
    net = strong(made(backbone, guide_at))
    image = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        exact = net(image)
        with torch.autocast('cpu', dtype):
            rough = net(image)
    assert (rough.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_tiles_of_a_whole_image_give_what_the_network_gives():
    net = strong(made(*KINDS[2]))
    image = net.padded(torch.rand(1, 3, 30, 64))
    whole = Tile(0, 0, *image.shape[-2:], *image.shape[-2:])
    with torch.no_grad():
        torch.testing.assert_close(net.by_tile(image)(whole, image), net(image))


def test_large_images_are_looked_at_once_whatever_memory_is_free():
    needs = memory.measure(made(NAFNET, PLACES).eval(), 64, torch.device('cpu'))
    for free in (1 << 31, 1 << 36):
        assert memory.choose(4000, 6000, needs, free).one_guide
    assert memory.choose(4000, 6000, needs, 1 << 36).tile is None


def test_is_exported_with_its_da_clip(tmp_path):
    backbone, guide_at = {'type': 'DnCNN', 'nc': 8, 'nb': 4}, ['model.3']
    options = {'type': 'DACLIPArch', 'backbone': backbone, 'daclip': DACLIP, 'guide_at': guide_at}
    net = strong(made(backbone, guide_at))
    run = exported(net, options, tmp_path, 'pt2')
    image = torch.rand(1, 3, 40, 111)
    with torch.no_grad():
        torch.testing.assert_close(run(image), net(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize('size', [(100, 67), (40, 90), (32, 32), (20, 33)])
def test_clip_sees_what_torchvision_and_pillow_make_of_the_image(size, monkeypatch):
    image = np.ascontiguousarray(data.chelsea()[100 : 100 + size[0], 100 : 100 + size[1]])
    prepared = transforms.Compose([
        transforms.Resize(32, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])(Image.fromarray(image))  # fmt: skip
    ours = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    given = clip_image(ours, 32)
    # Pillow rounds to 8 bits between the axes and behind them
    assert (given[0] - prepared).abs().max() < 1.5 / 255 / min(STD)
    # an exported graph computes the same in another way
    expected = [clip_views(ours, 32, views) for views in (1, 3)]
    monkeypatch.setattr(torch.compiler, 'is_exporting', lambda: True)
    for views, squares in zip((1, 3), expected):
        torch.testing.assert_close(clip_views(ours, 32, views), squares, rtol=0, atol=1e-5)


@pytest.mark.parametrize(('change', 'path', 'said'), [
    ({'guide_at': []}, 'guide_at', 'expected names of modules, got none'),
    ({'use_degra_context': False, 'use_image_context': False}, 'use_image_context', 'got false for both'),
    ({'backbone': {**PROMPT_NAFNET, 'context_dim': 512}}, 'backbone.context_dim', 'expected 16, the width of DA-CLIP'),
    ({'daclip': {'wights': 'random'}}, 'daclip.wights', "'weights'"),
    ({'backbone': {**NAFNET, 'type': 'NAFNt'}}, 'backbone.type', "'NAFNet'"),
])  # fmt: skip
def test_errors_name_the_option(change, path, said):
    arguments = {'backbone': NAFNET, 'daclip': DACLIP, 'guide_at': PLACES, **change}
    with pytest.raises(OptionsError) as caught:
        DACLIPArch(**arguments)
    assert caught.value.path == path and said in str(caught.value)


def test_networks_share_one_da_clip():
    net, other = made(NAFNET, PLACES), made(PROMPT_NAFNET, [])
    assert net.encoder is other.encoder is frozen_daclip(**DACLIP) is copy.deepcopy(net).encoder
