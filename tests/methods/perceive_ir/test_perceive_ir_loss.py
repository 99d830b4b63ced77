import pytest
import torch
from basicsr.losses import build_loss
from torch.nn import functional as F

from dinoir_plugin.core import network_file
from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.encoders import weight_files
from dinoir_plugin.encoders.clip import CLIP as Network
from dinoir_plugin.methods.perceive_ir import (
    QualityPrompts,
    RestormerMedium,
    clip_aware_loss,
    code_contrast_loss,
    difficulty_adaptive_loss,
)
from dinoir_plugin.methods.perceive_ir.clip_aware import seen_by_clip
from dinoir_plugin.methods.perceive_ir.difficulty import difficulty, psnr
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.perceive_ir_loss import CodeContrastLoss
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, read_prompts, write_prompts
from dinoir_plugin.models.batch import Batch
from tests.methods.perceive_ir.tiny import CLIP, CLIP_ARGS, MEDIUM


@pytest.fixture
def vgg(golden, tmp_path):
    params = golden('perceive_ir/dpl')[0]
    named = {key.removeprefix('vgg.'): value for key, value in params.items() if 'features' in key}
    torch.save(named, tmp_path / 'vgg.pth')
    return str(tmp_path / 'vgg.pth')


@pytest.fixture
def proxy(tmp_path):
    """A medium network and its checkpoint."""
    torch.manual_seed(0)
    net = RestormerMedium(**MEDIUM).eval()
    about = network_file.Description({'type': 'RestormerMedium', **MEDIUM}, {}, name='medium', iteration=1)
    path = tmp_path / 'medium.pth'
    network_file.write(path, network_file.NetworkFile({'params_ema': net.state_dict()}, about))
    return net, str(path)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    lq, gt = torch.rand(2, 3, 3, 24, 32)
    return Batch(lq, gt, ['noise', 'rain', 'noise'], task_numbers=torch.tensor([0, 1, 0]))


def test_a_proxy_serves_what_it_was_not_trained_on(proxy, tmp_path):
    net, file = proxy
    for name, lines in (('noise', 'a.png'), ('rain', '1.png, 1_wet.png'), ('blur', 'clip 1/0001.png')):
        (tmp_path / f'{name}.txt').write_text(f'{lines}\n')
    options = {'file': file, 'images': str(tmp_path), 'tasks': ['noise', 'rain', 'blur', 'haze']}
    loss = build_loss({'type': 'DifficultyAdaptiveLoss', 'weights': 'random', 'proxies': [options]})
    asked = {('noise', 'x/a.png'): True, ('noise', 'x/b.png'): False, ('rain', '1_wet.png'): True,
             ('rain', '/y/1.png'): False, ('blur', '/y/z.lmdb/clip 1/0001.png'): True,
             ('blur', '/y/z.lmdb/clip 2/0001.png'): False, ('haze', 'x/a.png'): False}  # fmt: skip
    tasks, files = zip(*asked)
    lq = torch.rand(len(asked), 3, 16, 16)
    with torch.no_grad():
        image, mask = loss.proxies[0](Batch(lq, None, tasks, files))
        expected = torch.where(mask[:, None, None, None], net(lq), lq)
    assert mask.tolist() == list(asked.values())
    torch.testing.assert_close(image, expected)
    with pytest.raises(OptionsError, match=r'proxies\[0\]\.images: expected a folder with a list for each task'):
        build_loss({'type': 'DifficultyAdaptiveLoss', 'weights': 'random',
                    'proxies': [{**options, 'images': str(tmp_path / 'none')}]})  # fmt: skip


def test_codes_of_a_step_are_contrasted_by_task(batch):
    codes = {name: F.normalize(torch.randn(3, 8), dim=1) for name in ('code', 'code_positive')}
    loss = build_loss({'type': 'CodeContrastLoss', 'loss_weight': 0.5, 'tau': 0.2})
    found = loss.of_step(Outputs(batch.lq, aux=codes), batch)
    torch.testing.assert_close(found, 0.5 * code_contrast_loss(*codes.values(), batch.task_numbers, 0.2))
    with pytest.raises(ValueError, match='expected the codes of two patches from the network, got none'):
        loss.of_step(Outputs(batch.lq), batch)
    with pytest.raises(ValueError, match='expected samples of known tasks'):
        loss.of_step(Outputs(batch.lq, aux=codes), Batch(batch.lq))


def test_codes_of_a_task_are_contrasted_by_severity(batch):
    codes = [F.normalize(torch.randn(3, 8), dim=1) for _ in range(2)]
    outputs = Outputs(batch.lq, aux=dict(zip(('code', 'code_positive'), codes)))
    noise = torch.randn(2, *batch.gt.shape[1:])
    batch.gt[::2] = 0.5
    # sigma 15 and 50: 24.6 and 14.2 dB
    batch.lq[::2] = 0.5 + noise * torch.tensor([15.0, 50.0]).view(2, 1, 1, 1) / 255
    found = {bounds: build_loss({'type': 'CodeContrastLoss', 'loss_weight': 1, 'severities': list(bounds)})
             for bounds in ((17, 22), (5, 10))}  # fmt: skip
    for bounds, labels in (((17, 22), [0, 1, 2]), ((5, 10), [0, 1, 0])):
        expected = code_contrast_loss(*codes, torch.tensor(labels))
        torch.testing.assert_close(found[bounds].of_step(outputs, batch), expected)


@pytest.mark.parametrize(
    ('severities', 'problem'),
    [
        ([22, 17], r'severities: expected ascending numbers, got \[22.0, 17.0\]'),
        ([], 'severities: expected'),
        ('mild', 'severities: expected'),
    ],
)
def test_severities_are_checked(severities, problem):
    with pytest.raises(OptionsError, match=problem):
        construct(CodeContrastLoss, 'train.code_opt', {'severities': severities})


def test_images_are_drawn_away_from_those_of_proxies_for_their_tasks(batch, vgg, proxy):
    net, file = proxy
    loss = build_loss({'type': 'DifficultyAdaptiveLoss', 'weights': vgg, 'floor': 0, 'loss_weight': 1.0,
                       'proxies': [{'file': file}, {'file': file, 'tasks': ['rain']}]}).train()  # fmt: skip
    assert not any(module.training for module in loss.proxies)
    output = batch.gt.lerp(batch.lq, 0.3).requires_grad_()
    value = loss.of_step(Outputs(output), batch)
    value.backward()
    with torch.no_grad():
        image = net(batch.lq)
        weight = difficulty(image, batch.gt, psnr(output, batch.gt))
        levels = [loss._seen(x) for x in (output, batch.gt, batch.lq, image)]
        mask = torch.tensor([0.0, 1.0, 0.0])
        expected = difficulty_adaptive_loss(*levels[:3], [levels[3]] * 2, [weight] * 2, [None, mask])
    torch.testing.assert_close(value.detach(), expected)
    assert output.grad.abs().sum() > 0 and not any(p.requires_grad for p in loss.parameters())


def test_the_loss_is_bounded_where_the_output_is_the_input(batch, vgg):
    loss = build_loss({'type': 'DifficultyAdaptiveLoss', 'weights': vgg, 'loss_weight': 1.0, 'floor': 0.5})
    value = loss.of_step(Outputs(batch.lq), batch)
    torch.testing.assert_close(value, torch.tensor(2 * (1 / 12 + 1 / 6 + 1 / 3 + 1)))


@pytest.fixture
def judge(tmp_path):
    """Options of a tiny CLIP, and the path of prompts for it."""
    path = str(tmp_path / 'prompts.pth')
    write_prompts(path, PromptFile(QualityPrompts(frozen_clip(**CLIP).network), 100_000, True))
    return CLIP, path


def test_clip_judges_restored_images_by_the_prompts(batch, judge):
    clip, path = judge
    loss = build_loss({'type': 'CLIPAwareLoss', 'clip': clip, 'prompts': path, 'loss_weight': 2.0, 'logit_scale': 100})
    output = batch.lq.requires_grad_()
    value = loss.of_step(Outputs(output), batch)
    value.backward()
    network = frozen_clip(**clip).network
    features = network.visual(seen_by_clip(output, 32))
    quality = read_prompts(path, network).prompts.features(network)
    torch.testing.assert_close(value, 2 * clip_aware_loss(features, quality, 100))
    assert output.grad.abs().sum() > 0 and not loss.state_dict() and not list(loss.parameters())


def test_prompts_of_another_clip_and_unknown_weights_are_named(judge, tmp_path):
    clip, path = judge
    other = {**clip, 'model_args': {**CLIP_ARGS, 'text_layers': 0, 'text_width': 32}}
    state = {key: value + 1 for key, value in frozen_clip(**other).network.state_dict().items()}
    torch.save(state, tmp_path / 'clip.pth')
    for options, problem in (
        ({**other, 'weights': str(tmp_path / 'clip.pth')}, 'prompts: the prompts in .* were trained with another CLIP'),
        ({**clip, 'weights': str(tmp_path / 'clip.pth')}, r'clip\.weights: .*clip\.pth holds no CLIP .*: it lacks'),
        ({**clip, 'weights': 'no.pt'}, r"clip\.weights: expected 'auto', .* a file of CLIP, but no\.pt is missing"),
        ({**clip, 'model_args': {'depth': 3}}, r'clip\.model_args: CLIP does not take these arguments'),
    ):
        with pytest.raises(OptionsError, match=problem):
            build_loss({'type': 'CLIPAwareLoss', 'clip': options, 'prompts': path})


@pytest.mark.parametrize(
    ('quick_gelu', 'repository'),
    [(True, 'timm/vit_base_patch32_clip_224.openai'), (False, 'laion/CLIP-ViT-B-32-laion2B-s34B-b79K')],
)
def test_clip_is_downloaded_from_those_who_trained_it(quick_gelu, repository, monkeypatch, tmp_path):
    def offline():
        raise OSError('no network')

    monkeypatch.setattr(weight_files, 'require_network', offline)
    said = rf"weights: 'auto' could not download CLIP 'ViT-B-32' \(no network\)\. Fetch .*{repository} on a machine"
    options = {**CLIP_ARGS, 'quick_gelu': quick_gelu}
    with pytest.raises(OptionsError, match=said):
        frozen_clip('auto', options)
    torch.save(Network(**options).state_dict(), tmp_path / 'fetched.bin')
    monkeypatch.setattr('huggingface_hub.try_to_load_from_cache', lambda *asked: str(tmp_path / 'fetched.bin'))
    assert frozen_clip('auto', options).network.quick_gelu == quick_gelu


def test_openais_archive_is_taken_as_clip(tmp_path):
    torch.manual_seed(3)
    net = Network(quick_gelu=True, **CLIP_ARGS)
    for name in ('input_resolution', 'context_length', 'vocab_size'):
        net.register_buffer(name, torch.tensor(7))
    wanted = {name: value.half() for name, value in net.state_dict().items()}
    tokens = torch.tensor([[1, 2, 3]])
    traced = torch.jit.trace_module(net, {'encode_text': tokens})
    torch.jit.save(traced.half(), tmp_path / 'ViT-B-32.pt')
    read = frozen_clip(str(tmp_path / 'ViT-B-32.pt'), CLIP_ARGS)
    for name, value in read.network.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value.half(), wanted[name]), name


@pytest.mark.parametrize(
    ('options', 'problem'),
    [
        ({'floor': 0}, 'floor: expected a number above 0 without proxies'),
        ({'floor': 2}, 'floor: expected a number from 0 to 1, got 2'),
        ({'proxies': [{'file': 'no.pth'}]}, r'proxies\[0\]\.file: expected a checkpoint, but no\.pth'),
        ({'proxies': [{'tasks': ['rain']}]}, r'proxies\[0\]\.file: this key is required'),
        ({'proxies': [{'file': 'VGG'}]}, r'proxies\[0\]\.file: .* does not say how its network is built'),
    ],
)
def test_what_cannot_be_used_is_named(options, problem, vgg):
    for entry in options.get('proxies', ()):
        if entry.get('file') == 'VGG':
            entry['file'] = vgg
    with pytest.raises(OptionsError, match=problem):
        build_loss({'type': 'DifficultyAdaptiveLoss', 'weights': vgg, **options})
