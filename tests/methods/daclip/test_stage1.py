"""DA-CLIP's first stage: what learns, what is saved, how it is judged, and what is refused."""

import csv
import json
import math
import re
from types import SimpleNamespace

import pytest
import torch
from basicsr.models import build_model
from basicsr.utils.registry import ARCH_REGISTRY
from torch.testing import assert_close

from dinoir_plugin import Restorer
from dinoir_plugin.core import network_file
from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders import weight_files
from dinoir_plugin.methods.daclip import DACLIP, WORDS
from dinoir_plugin.methods.daclip.daclip_stage1_arch import DACLIPStage1
from dinoir_plugin.methods.daclip.encoder import frozen_daclip
from dinoir_plugin.methods.daclip.word_validation import _Retrieval
from dinoir_plugin.preflight.schema import schema_problems
from dinoir_plugin.restore.info import describe

pytestmark = pytest.mark.filterwarnings('ignore:.*random weights')
TINY = {'embed_dim': 16, 'image_size': 32, 'patch_size': 8, 'vision_width': 16, 'vision_layers': 2, 'head_width': 8,
        'text_width': 16, 'text_heads': 2, 'text_layers': 1}  # fmt: skip
NETWORK = {'type': 'DACLIPStage1', 'weights': 'random', 'model_args': TINY}
TASKS = ('noisy', 'hazy')


def options(folder, **more):
    names = ('models', 'training_states', 'visualization', 'experiments_root')
    return {
        'name': 'words', 'model_type': 'DACLIPStage1Model', 'num_gpu': 0, 'dist': False, 'is_train': True, 'rank': 0,
        'world_size': 1, 'manual_seed': 0, 'network_g': {**NETWORK}, 'logger': {},
        'datasets': {'train': {'name': 'x', 'tasks': {task: {} for task in TASKS}, 'gt_size': 40}},
        'path': {name: str(folder) for name in names},
        'train': {
            'total_iter': 4,
            'optim_g': {'type': 'AdamW', 'lr': 3.0e-3, 'weight_decay': 0.05, 'decay_vectors': False},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]},
            'content_opt': {'type': 'DACLIPCaptionLoss'}, 'words_opt': {'type': 'DACLIPDegradationLoss'},
        },
        'val': {'save_img': False}, **more,
    }  # fmt: skip


def item(number):
    generator = torch.Generator().manual_seed(number)
    gt = torch.rand(3, 40, 44, generator=generator)
    task = TASKS[number % 2]
    lq = gt * 0.2 + 0.8 if task == 'hazy' else (gt + torch.randn(gt.shape, generator=generator) * 0.3).clamp(0, 1)
    # captions are words here, for which no vocabulary is needed
    return {'lq': lq, 'gt': gt, 'task': task, 'caption': list(WORDS)[number % 4], 'lq_path': f'{task}{number}.png'}


class Images(list):
    opt = {'name': 'heldout'}  # noqa: RUF012
    tasks = TASKS


def train(model, iterations, start=1):
    for iteration in range(start, start + iterations):
        model.feed_data(torch.utils.data.default_collate([item(number) for number in range(8)]))
        model.update_learning_rate(iteration)
        model.optimize_parameters(iteration)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stage1')
    torch.manual_seed(0)
    model = build_model(options(folder))
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    train(model, 30)
    loader = SimpleNamespace(dataset=Images(item(number) for number in range(100, 108)))
    model.validation(loader, 2, None, False)  # as the trainer calls it
    model.save(0, 2)
    return model, before, folder


def test_the_controller_and_the_scale_learn_and_nothing_else(trained):
    model, before, _ = trained
    after = model.net_g.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in after if name.startswith(('visual_control.', 'logit_scale'))}
    matrices, vectors = model.optimizer_g.param_groups
    assert matrices['weight_decay'] == 0.05 and vectors['weight_decay'] == 0
    assert {p.ndim > 1 for p in matrices['params']} == {True} and {p.ndim < 2 for p in vectors['params']} == {True}
    assert any(p is model.net_g.logit_scale for p in vectors['params'])
    assert set(model.get_current_log()) == {'l_content', 'l_words', 'scale'}


def test_the_factor_of_cosines_has_bounds(tmp_path):
    model = build_model(options(tmp_path))
    for value, bound in ((9.0, math.log(100)), (-1.0, 0.0)):
        model.net_g.logit_scale.data.fill_(value)
        train(model, 1)
        assert model.net_g.logit_scale.item() == pytest.approx(bound)


def test_it_is_judged_by_the_words(trained):
    model, _, folder = trained
    assert model.metric_results['accuracy'] == 1
    content = json.loads((folder / 'metrics_heldout.json').read_text())
    assert set(content['means']) == {*TASKS, 'average'} and len(content['images']) == 8
    assert content['means']['average'] == model.metric_results and 'input' not in content
    lines = list(csv.DictReader((folder / 'metrics_heldout.csv').open()))
    assert [line['task'] for line in lines] == ['noisy', 'hazy', 'average'] and lines[0]['accuracy'] == '1.0'
    best = json.loads((folder / 'best.json').read_text())['heldout']
    assert best['accuracy'] == {'better': 'higher', 'val': 1.0, 'iter': 2}


def test_a_content_is_judged_among_those_of_its_task():
    clean = torch.eye(4)[:, None]
    retrieval = _Retrieval()
    # of the last two images each looks like the other
    kept = [retrieval.keep(3 * clean[seen] + 0.1, clean[number]) for number, seen in enumerate([0, 1, 3, 2])]
    assert retrieval.of(kept) == 0.5


def test_a_resumed_run_knows_what_was_best(trained):
    _, _, folder = trained
    model = build_model(options(folder))
    model.resume_training(torch.load(folder / '2.state', weights_only=True))
    model.opt['datasets']['val'] = {'name': 'heldout'}
    model._read_best(2)
    assert model.best_metric_results['heldout']['accuracy']['iter'] == 2


def test_checkpoints_are_those_of_the_authors(trained):
    model, _, folder = trained
    path = folder / 'net_g_2.pth'
    state = network_file.read(path).states['params']
    assert set(state) == set(DACLIP(**{'vocab_size': 49408, **TINY}).state_dict())
    # the image tower stands there under two names and is written once
    unique = sum(parameter.numel() for parameter in model.net_g.parameters())
    assert path.stat().st_size < 4 * unique * 1.2
    image = torch.rand(1, 3, 50, 40)
    encoder = frozen_daclip(weights=str(path), model_args=TINY)
    from dinoir_plugin.methods.daclip.preprocessing import clip_image

    with torch.no_grad():
        for found, wanted in zip(encoder(image), model.net_g(clip_image(image, 32))):
            assert_close(found, wanted)
    assert 'type: DACLIPStage1' in describe(path) and 'trained for: noisy, hazy' in describe(path)
    with pytest.raises(OptionsError, match=r'network_g\.type: the network of .* restores no images: it is the first'):
        Restorer.from_checkpoint(path)


def test_training_goes_on_from_the_authors_files(tmp_path):
    network = DACLIP(**{'vocab_size': 49408, **TINY})
    for parameter in network.parameters():
        parameter.data.normal_()
    state = {f'module.{name}': value for name, value in network.state_dict().items()}
    torch.save({'epoch': 3, 'state_dict': state, 'optimizer': {}}, tmp_path / 'daclip.pt')
    given = options(tmp_path)
    given['path']['pretrain_network_g'] = str(tmp_path / 'daclip.pt')
    model = build_model(given)
    for name, value in network.state_dict().items():
        assert torch.equal(model.net_g.state_dict()[name], value), name
    given['network_g'] = {**NETWORK, 'model_args': {**TINY, 'vision_width': 24}}
    with pytest.raises(OptionsError, match=r'path\.pretrain_network_g: .* does not fit network_g: it has'):
        build_model(given)


def test_clips_weights_come_from_a_file_of_clip_or_with_clip_in_it(tmp_path):
    torch.manual_seed(5)
    whole = DACLIP(**{'vocab_size': 49408, **TINY})
    torch.nn.init.normal_(whole.clip.logit_scale)
    torch.nn.init.normal_(whole.clip.visual.ln_post.weight)
    torch.save(whole.clip.state_dict(), tmp_path / 'clip.pt')
    torch.save(whole.state_dict(), tmp_path / 'daclip.pt')
    for name in ('clip.pt', 'daclip.pt'):
        net = DACLIPStage1(weights=str(tmp_path / name), start='as_released', model_args=TINY)
        assert_close(net.clip.state_dict(), whole.clip.state_dict())
        assert net.logit_scale == whole.clip.logit_scale
        assert torch.equal(net.visual_control.transformer.zero_modules[0].weight[3], whole.clip.visual.ln_post.weight)
        assert torch.equal(net.visual_control.conv1.weight, whole.clip.visual.conv1.weight)


def test_a_content_without_captions_is_drawn_to_the_clean_image(tmp_path):
    given = options(tmp_path)
    given['train']['content_opt'] = {'type': 'DACLIPCleanImageLoss'}
    model = build_model(given)
    train(model, 1)
    # the controller adds nothing yet: degraded and clean image as CLIP sees them
    first = model.get_current_log()['l_content']
    train(model, 20, start=2)
    assert model.get_current_log()['l_content'] < first


@pytest.mark.parametrize(('change', 'said'), [
    ({'val': {'save_img': False, 'metrics': {'psnr': {}}}}, r'val\.metrics: this stage restores nothing'),
    ({'network_g': {'type': 'NAFNet', 'width': 4}}, r'network_g\.type: expected DACLIPStage1 .*, got NAFNet'),
])  # fmt: skip
def test_runs_that_cannot_be_meant_are_refused(change, said, tmp_path):
    given = options(tmp_path, **change)
    with pytest.raises(OptionsError, match=said):
        build_model(given)
    assert any(re.match(said, str(problem)) for problem in schema_problems(given, is_train=True))


@pytest.mark.parametrize(('change', 'said'), [
    ({'name': 'ViT-B-16'}, r"network_g\.name: expected one of ViT-B-32, ViT-L-14, got 'ViT-B-16'"),
    ({'model_args': {**TINY, 'depth': 3}}, r'network_g\.model_args\.depth: unknown option'),
    ({'model_args': {**TINY, 'vocab_size': 99}}, r'network_g\.model_args\.vocab_size: expected at least 49408'),
    ({'weights': '/nowhere/clip.pt'}, r"network_g\.weights: expected 'auto', 'random' or a file of CLIP, but /nowhere"),
    ({'weights': 'auto'}, r"network_g\.weights: 'auto' could not download CLIP 'ViT-B-32' \(no network\)\. Fetch"),
])  # fmt: skip
def test_networks_that_cannot_be_built_are_refused(change, said, monkeypatch):
    def offline():
        raise OSError('no network')

    monkeypatch.setattr(weight_files, 'require_network', offline)
    with pytest.raises(OptionsError, match=said):
        build_registered(ARCH_REGISTRY, {**NETWORK, **change}, 'network_g')


def test_a_file_of_something_else_is_named_in_one_line(tmp_path):
    torch.save({'conv.weight': torch.zeros(3)}, tmp_path / 'other.pt')
    said = r"weights: .*other\.pt holds no CLIP 'ViT-B-32': it lacks .* Give 'auto'"
    with pytest.raises(OptionsError, match=said) as error:
        DACLIPStage1(weights=str(tmp_path / 'other.pt'), model_args=TINY)
    assert '\n' not in str(error.value)
