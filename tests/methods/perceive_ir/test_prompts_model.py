"""Perceive-IR's first stage: what learns, what is written, what is accepted, and what stage 2 refuses."""

import re
from types import SimpleNamespace

import pytest
import torch
from basicsr.losses import build_loss
from basicsr.models import build_model

from dinoir_plugin import Restorer
from dinoir_plugin.core import network_file
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.prompt_report import acceptance, image_figures
from dinoir_plugin.methods.perceive_ir.prompt_validation import five_crops
from dinoir_plugin.methods.perceive_ir.prompts import read_prompts
from dinoir_plugin.preflight.schema import schema_problems
from tests.methods.perceive_ir.tiny import CLIP

pytestmark = pytest.mark.filterwarnings('ignore:.*random weights')
TASKS = ('noise', 'rain')


def options(folder, **more):
    names = ('models', 'training_states', 'visualization', 'experiments_root')
    tasks = {task: {'dataroot_medium': 'x'} for task in TASKS}
    return {
        'name': 'prompts', 'model_type': 'PerceiveIRPromptsModel', 'num_gpu': 0, 'dist': False, 'is_train': True,
        'rank': 0, 'world_size': 1, 'manual_seed': 0, 'network_g': {'type': 'PerceiveIRPrompts', 'clip': CLIP},
        'datasets': {'train': {'name': 'x', 'tasks': tasks, 'gt_size': 40}, 'val': {'name': 'heldout', 'tasks': tasks}},
        'logger': {}, 'path': {name: str(folder) for name in names},
        'train': {
            'total_iter': 160, 'optim_g': {'type': 'AdamW', 'lr': 3.0e-2},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]}, 'quality_opt': {'type': 'QualityPromptLoss'},
        },
        'val': {'save_img': False}, **more,
    }  # fmt: skip


def item(number):
    """Clean images are smooth here, degraded ones dark and rough."""
    generator = torch.Generator().manual_seed(number)
    gt = torch.rand(3, 1, 1, generator=generator) * 0.2 + 0.8 * torch.ones(3, 48, 52)
    lq = gt * 0.1 + torch.rand(gt.shape, generator=generator) * 0.1
    medium = gt.lerp(lq, 0.5)
    return {'lq': lq, 'gt': gt, 'medium': medium, 'task': TASKS[number % 2], 'lq_path': f'{number}.png'}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('prompts')
    torch.manual_seed(0)
    model = build_model(options(folder))
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    losses = []
    for iteration in range(1, 161):
        model.feed_data(torch.utils.data.default_collate([item(4 * iteration + number) for number in range(4)]))
        model.update_learning_rate(iteration)
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log()['l_quality'])
    images = [item(number) for number in range(1000, 1004)]
    dataset = type('Images', (list,), {'opt': {'name': 'heldout'}})(images)
    model.validation(SimpleNamespace(dataset=dataset), 160, None, False)  # as the trainer calls it
    model.save(0, 160)
    return model, before, losses, folder


def test_the_prompts_learn_and_nothing_else(trained):
    model, before, losses, _ = trained
    after = model.net_g.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {'context'}
    assert losses[-1] < 0.2 * losses[0]
    assert set(before) == {'context', 'token_prefix', 'token_suffix', 'tokenized_prompts'}


def test_they_are_judged_and_written_for_stage_2(trained):
    model, _, _, folder = trained
    assert model.metric_results == {'accuracy': 1, 'all_correct': 1, 'in_order': 1}
    clip = frozen_clip(**CLIP)
    found = read_prompts(folder / 'prompts.pth', clip.network)
    assert (found.iteration, found.task_balanced) == (160, True)
    assert torch.equal(found.prompts.context, model.net_g.context)
    assert found.others['acceptance']['passed'] and set(found.others['acceptance']['means']) == set(TASKS)
    assert build_loss({'type': 'CLIPAwareLoss', 'prompts': str(folder / 'prompts.pth'), 'clip': CLIP}).loss_weight
    other = {**CLIP, 'model_args': {**CLIP['model_args'], 'text_layers': 2}}
    torch.manual_seed(1)
    state = {name: torch.randn_like(value) for name, value in frozen_clip(**other).network.state_dict().items()}
    torch.save(state, folder / 'other.pth')
    with pytest.raises(OptionsError, match=r'prompts: the prompts in .* were trained with another CLIP') as error:
        build_loss({'type': 'CLIPAwareLoss', 'prompts': str(folder / 'prompts.pth'),
                    'clip': {**other, 'weights': str(folder / 'other.pth')}})  # fmt: skip
    assert '\n' not in str(error.value)
    with pytest.raises(OptionsError, match='restores no images: it is the first stage of Perceive-IR'):
        Restorer.from_checkpoint(folder / 'net_g_160.pth')
    assert network_file.read(folder / 'net_g_160.pth').description.tasks == list(TASKS)


def test_stage_2_asks_whether_they_were_accepted(trained, tmp_path):
    model, _, _, folder = trained
    loss = {'type': 'CLIPAwareLoss', 'prompts': str(tmp_path / 'prompts.pth'), 'clip': CLIP}
    model.opt['path']['models'] = str(tmp_path)
    means = {'noise': {'accuracy': 1.0, 'all_correct': 1.0, 'in_order': 1.0},
             'rain': {'accuracy': 0.7, 'all_correct': 0.3, 'in_order': 0.9}}  # fmt: skip
    for report, iteration, said in (
        (acceptance(means), 100_000, r'not well enough: accuracy of rain 0\.70, below 0\.75; all_correct 0\.65'),
        (None, 40, r'has no report, and they were trained for 40 iterations, balanced'),
    ):
        model.write_prompts(iteration, report)
        with pytest.raises(OptionsError, match=rf'prompts: .*{said}.*gate: ignore') as error:
            build_loss(loss)
        assert '\n' not in str(error.value)
        build_loss({**loss, 'gate': 'ignore'})
    # as the authors' own, which have no report
    model.write_prompts(100_000)
    build_loss(loss)
    model.opt['path']['models'] = str(folder)


def test_images_are_judged_in_three_qualities():
    logits = torch.tensor([[5.0, 0, 0], [0, 1, 1.1], [0, 0, 5]])
    assert image_figures(logits) == {'accuracy': pytest.approx(2 / 3), 'all_correct': 0, 'in_order': 1}
    assert image_figures(logits[[0, 2, 1]])['in_order'] == 0
    image = torch.arange(30.0).view(1, 1, 5, 6)
    assert five_crops(image, 3)[:, 0, 0, 0].tolist() == [0, 3, 12, 15, 7]
    assert five_crops(image, 9).shape == (5, 1, 5, 5)


@pytest.mark.parametrize(('change', 'said'), [
    ({'val': {'metrics': {'psnr': {}}}}, r'val\.metrics: this stage restores nothing'),
    ({'network_g': {'type': 'NAFNet', 'width': 4}}, r'network_g\.type: expected PerceiveIRPrompts .*, got NAFNet'),
    ({'datasets': {'train': {'tasks': {'rain': {'dataroot_gt': 'x'}}}}},
     r'datasets\.train\.tasks\.rain\.dataroot_medium: expected a folder of half-restored images.*dinoir medium'),
])  # fmt: skip
def test_runs_that_cannot_be_meant_are_refused(change, said, tmp_path):
    given = options(tmp_path, **change)
    with pytest.raises(OptionsError, match=said):
        build_model(given)
    assert any(re.match(said, str(problem)) for problem in schema_problems(given, is_train=True))
