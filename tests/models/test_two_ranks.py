"""Two ranks log the losses of one rank with the doubled batch, and end with its weights: trainings of their own."""

import re

import pytest
import torch

from dinoir_plugin.core import network_file
from dinoir_plugin.methods.perceive_ir import QualityPrompts, RestormerMedium
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, write_prompts
from dinoir_plugin.testing.project import TINY_ENCODER, logged
from dinoir_plugin.testing.teachers import TINY_TKMANET, write_teachers
from tests.methods.perceive_ir.tiny import CLIP, MEDIUM, NETWORK
from tests.models.test_training import TORCHRUN

IDR = {'type': 'IDR', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8],
       'num_degra_queries': 4}  # fmt: skip
MEASURED = 'Probe after.*|the prompts are .*'  # lines of the log that have to be the same


@pytest.fixture
def idr(make_project):
    project = make_project()
    project.options.update(model_type='RestorationModel', network_g=dict(IDR))
    project.train.update(
        levels_opt={'type': 'IDRLevelLoss'}, types_opt={'type': 'IDRTypeLoss'},
        phases=[{'iters': 2, 'stage': 1, 'losses': ['pixel', 'levels', 'types']},
                {'iters': 2, 'stage': 2, 'losses': ['pixel', 'levels']}],
    )  # fmt: skip
    return project, {'l_pix': 4, 'l_levels': 4, 'l_types': 2}


@pytest.fixture
def tkmanet(make_project, tmp_path):
    project = make_project()
    tasks = list(project.data['tasks'])
    project.options.update(
        model_type='TransferModel', network_g={**TINY_TKMANET, 'teachers': len(tasks)},
        teachers=write_teachers(tmp_path, tasks),
    )  # fmt: skip
    project.train.update(
        transfer_opt={'type': 'KnowledgeTransferLoss'},
        phases=[{'iters': 2, 'losses': ['transfer']}, {'iters': 2, 'losses': ['pixel']}],
    )
    return project, {'l_transfer': 2, 'l_pix': 2}


@pytest.fixture
def perceive_ir(make_project, tmp_path):
    torch.manual_seed(0)
    medium = {'type': 'RestormerMedium', **MEDIUM}
    states = {'params': RestormerMedium(**MEDIUM).state_dict()}
    network_file.write(tmp_path / 'medium.pth', network_file.NetworkFile(states, network_file.Description(medium)))
    write_prompts(tmp_path / 'prompts.pth', PromptFile(QualityPrompts(frozen_clip(**CLIP).network), 100_000, True))
    project = make_project()
    project.options.update(
        model_type='PerceiveIRModel', probe={'every': 2, 'images': 2},
        network_g={'type': 'PerceiveIRArch', 'backbone': {'type': 'PerceiveIR', **NETWORK},
                   'encoder': {**TINY_ENCODER, 'layers': [0, 1, 2, 3]}},
    )  # fmt: skip
    project.data['second_patch'] = True
    project.train.update(
        code_opt={'type': 'CodeContrastLoss'},
        clip_opt={'type': 'CLIPAwareLoss', 'prompts': 'prompts.pth', 'clip': CLIP, 'logit_scale': 100},
        difficulty_opt={'type': 'DifficultyAdaptiveLoss', 'weights': 'random', 'reference': 'task_probe',
                        'proxies': [{'file': 'medium.pth', 'tasks': ['derain', 'denoise']}]},
    )  # fmt: skip
    return project, dict.fromkeys(('l_pix', 'l_code', 'l_clip', 'l_difficulty'), 4)


@pytest.fixture
def prompts(make_project):
    project = make_project()
    rain, haze = (project.data['tasks'][name] for name in ('derain', 'dehaze'))
    # what half-restored images would be called
    rain['dataroot_medium'], haze['dataroot_medium'] = rain['dataroot_gt'], haze['dataroot_lq']
    project.data['tasks'] = {'derain': rain, 'dehaze': haze}
    project.add_validation(val_freq=4, save_img=False, metrics=None)
    project.options.update(
        model_type='PerceiveIRPromptsModel', network_g={'type': 'PerceiveIRPrompts', 'clip': CLIP}
    )
    project.train.update(pixel_opt=None, quality_opt={'type': 'QualityPromptLoss'})
    return project, {'l_quality': 4}


def trained(project):
    """The weights of a run's end, in one row."""
    state = torch.load(project.models / 'net_g_latest.pth', weights_only=True)['params']
    return torch.cat([value.double().flatten() for value in state.values()])


@pytest.mark.parametrize('name', ['idr', 'tkmanet', 'perceive_ir', 'prompts'])
def test_two_ranks_train_as_one(name, request):
    project, losses = request.getfixturevalue(name)
    del project.train['dpc_opt']
    project.train.update(total_iter=4, ema_decay=0)
    project.data.update(batch_size_per_gpu=2, num_worker_per_gpu=0)
    one = project.run().log
    weights = trained(project)
    project.data.update(batch_size_per_gpu=1)
    two = project.run('--launcher', 'pytorch', command=TORCHRUN).log
    assert (trained(project) - weights).norm() < 1e-5 * weights.norm()
    measured = re.findall(MEASURED, one)
    assert measured == re.findall(MEASURED, two) and bool(measured) == (name in ('perceive_ir', 'prompts'))
    for loss, count in losses.items():
        assert len(logged(one, loss)) == count, one
        assert logged(two, loss) == pytest.approx(logged(one, loss), rel=2e-3), loss
