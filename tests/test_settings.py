"""The front options file is the paper's setting, key by key; the recommended one leaves it where its table says."""

import re

import pytest

from dinoir_plugin.core.options_files import CHECKOUT, options_file
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.experiments.published import FOLDER
from dinoir_plugin.experiments.variants import Experiments, read_yaml

SETTINGS = read_yaml(FOLDER / 'dinoir_settings.yml')
ALL4 = read_yaml(options_file('train_dinoir_all4'))
TESTS = read_yaml(options_file('test_dinoir_all4'))
NOISE = read_yaml(options_file('dinoir/train_dinoir_noise'))
RECOMMENDED = read_yaml(options_file('dinoir/train_recommended'))
DOCUMENT = CHECKOUT.parent / 'docs' / 'recommended.md'
DID = 'datasets/did_mdn/train/clean.lmdb'


def flat(block, path=''):
    """Path of each setting to its value; lists are values, numbered keys of blocks are not."""
    found = {}
    for key, value in block.items():
        here = f'{path}.{key}' if path else key
        found.update(flat(value, here) if isinstance(value, dict) and value else {here: value})
    return found


def at(opt, path):
    for key in path.split('.'):
        opt = opt[key]
    return opt


def train(path, opt=ALL4):
    return at(opt, f'datasets.train.{path}')


def sigmas_of_tests(opt=TESTS):
    blocks = [task['degradation'] for options in opt['datasets'].values() for task in options['tasks'].values()
              if 'degradation' in task]  # fmt: skip
    return sorted(block['sigma'] for block in blocks if block['type'] == 'gaussian_noise')


def rows(table):
    return [row[0] for row in Experiments().tables[table]['rows']]


def rates():
    """Learning rate of each stage."""
    scheduler, lr = ALL4['train']['scheduler'], ALL4['train']['optim_g']['lr']
    assert scheduler['type'] == 'MultiStepLR'
    # lowered where the patches change
    assert scheduler['milestones'] == [train('stages')[0]['iters']]
    return lr, lr * scheduler['gamma']


def stage(number):
    options = train('stages')[number]
    return {'lr': rates()[number], 'batch': options['batch_size_per_gpu'], 'patch': options['gt_size']}


MULTI = 'datasets.multi_task'
# a setting of the paper to its place: the setting's value has to be the same
COMPARED = {
    'tasks': lambda: sorted(train('tasks'), key=SETTINGS['tasks'].index),
    f'{MULTI}.derain.train': lambda: {DID: 'DID'}[train('tasks.derain.dataroot_gt')],
    f'{MULTI}.derain.test': lambda: {'datasets/did_mdn/test/clean.lmdb': 'DID'}[
        TESTS['datasets']['test_rain_high']['tasks']['derain']['dataroot_gt']],
    f'{MULTI}.derain.levels_tested': lambda: [name.removeprefix('test_rain_') for name in TESTS['datasets']
                                              if name.startswith('test_rain_')],
    f'{MULTI}.denoise.train_clean': lambda: {DID: 'DID images'}[train('tasks.denoise.dataroot_gt')],
    f'{MULTI}.denoise.noise': lambda: train('tasks.denoise.degradation.type').removesuffix('_noise'),
    f'{MULTI}.denoise.sigma_range': lambda: train('tasks.denoise.degradation.sigma'),
    f'{MULTI}.denoise.test': lambda: {'datasets/cbsd68.lmdb': 'BSD68'}[
        TESTS['datasets']['test_noise25']['tasks']['denoise']['dataroot_gt']],
    f'{MULTI}.denoise.sigmas_tested': sigmas_of_tests,
    f'{MULTI}.deblur.train_clean': lambda: {DID: 'DID images'}[train('tasks.deblur.dataroot_gt')],
    f'{MULTI}.deblur.kernel': lambda: train('tasks.deblur.degradation.type').removesuffix('_blur'),
    f'{MULTI}.deblur.kernel_size': lambda: train('tasks.deblur.degradation.kernel_size'),
    f'{MULTI}.deblur.sigma_uniform_range': lambda: train('tasks.deblur.degradation.sigma'),
    f'{MULTI}.deblur.test': lambda: {'datasets/did_mdn/test/clean.lmdb': 'not named; blurred DID by context'}[
        TESTS['datasets']['test_blur']['tasks']['deblur']['dataroot_gt']],
    f'{MULTI}.dehaze.train': lambda: re.findall(r'reside/(ots)_', train('tasks.dehaze.dataroot_lq'))[0].upper(),
    f'{MULTI}.dehaze.train_images': lambda: int(re.findall(r'ots_(\d+)_seed0/', train('tasks.dehaze.dataroot_lq'))[0]),
    f'{MULTI}.dehaze.test': lambda: re.findall(
        r'reside/(sots)_', TESTS['datasets']['test_haze']['tasks']['dehaze']['dataroot_lq'])[0].upper(),
    'datasets.single_task_denoise.train.BSD400': lambda: CATALOGUE['bsd400'].splits[0].counts[0],
    'datasets.single_task_denoise.train.WED': lambda: CATALOGUE['wed'].splits[0].counts[0],
    'datasets.single_task_denoise.sigmas': lambda: train('tasks.denoise.degradation.sigma.choices', NOISE),
    'datasets.single_task_denoise.test': lambda: ['BSD68', 'Urban100'] if {'noise15', 'urban15'} <= set(
        Experiments().tables['table2']['tests']) else [],
    'datasets.single_task_denoise.model': lambda: {1: 'one separate model per task'}[len(train('tasks', NOISE))],
    'datasets.generalisation.denoise_unseen_sigma': lambda: noise100()['degradation']['sigma'],
    'datasets.generalisation.denoise_set': lambda: {'datasets/cbsd68.lmdb': 'BSD68'}[noise100()['dataroot_gt']],
    'datasets.generalisation.trained_on': lambda: {(): 'the four-degradation mix'}[
        tuple(key for run in Experiments().runs_of('table4') for key in Experiments().runs[run] if key == 'tasks')],
    'datasets.layer_ablation.set': lambda: {('rain100l',): 'Rain100L'}[tuple(Experiments().tables['table5']['tests'])],
    'datasets.layer_ablation.metric': lambda: Experiments().tables['table5']['metrics'][0],
    'metrics': lambda: [name.upper() for name in TESTS['val']['metrics']][:2],
    'network.base': lambda: ALL4['network_g']['backbone']['type'],
    'network.levels': lambda: len(ALL4['network_g']['backbone']['num_blocks']),
    'network.blocks_per_level': lambda: ALL4['network_g']['backbone']['num_blocks'],
    'network.psf.experts': lambda: len(ALL4['network_g']['encoder']['layers']),
    'network.psf.gating': lambda: 'MLP on the concatenated three features'
    if ALL4['network_g']['psf']['form'] == 'literal'
    else 'MLP on what the experts give',
    'loss.lambda': lambda: ALL4['train']['dpc_opt']['loss_weight'],
    'training.multi_task.optimizer.type': lambda: ALL4['train']['optim_g']['type'],
    'training.multi_task.optimizer.betas': lambda: ALL4['train']['optim_g']['betas'],
    **{f'training.multi_task.stage_{number + 1}.{key}': lambda number=number, key=key: stage(number)[key]
       for number in (0, 1) for key in ('lr', 'batch', 'patch')},
    'training.single_task.batch': lambda: train('batch_size_per_gpu', NOISE),
    'training.single_task.patch': lambda: train('gt_size', NOISE),
    'compared_methods.multi_task': lambda: sorted((row for row in rows('table1') if row != 'DINO-IR'),
                                                  key=SETTINGS['compared_methods']['multi_task'].index),
    'compared_methods.single_task_denoise': lambda: [row for row in rows('table2') if row != 'DINO-IR'],
}  # fmt: skip
# a setting that has no place in the options, and why
NOT_EXPRESSED = {
    'source': 'says where the settings are from',
    f'{MULTI}.why': 'a reason',
    f'{MULTI}.derain.note': 'a remark',
    'datasets.single_task_other': 'not known',
    'datasets.generalisation.derain_unseen': 'the test rain100l_unseen of budgets.yml; the paper has two names for it',
    'network.dino': 'held by test_the_guide_is_dinov2_at_three_depths',
    'network.psf.expert_kind': "the module's own",
    'network.psf.fusion': "the module's own",
    'network.dr.adaption': "the module's own",
    'network.dr.query': "the module's own",
    'network.dr.key_value': "the module's own",
    'network.dr.attention': 'held by test_attention_is_divided_by_the_square_root_of_the_channels',
    'network.dr.projections': "the module's own",
    'network.dr.residual': "the module's own",
    'network.dr.note': 'a remark',
    'loss.total': 'held by test_the_losses_are_l1_and_dpc_and_no_others',
    'loss.L_DINO': "the loss's own",
    'loss.D': "the loss's own",
    'loss.features': 'layers are open, see dpc_opt.layers',
    'training.framework': 'is PyTorch',
    'training.gpu': 'whatever there is',
    'training.multi_task.gpus': 'options give the batch of one rank: with two, half of it',
    'training.multi_task.note': 'held by the scheduler: lr falls where the second stage begins',
    'training.single_task.gpus': 'num_gpu: auto',
    'reported_analysis.psf_gate_scores.shallow': 'a result',
    'reported_analysis.psf_gate_scores.medium': 'a result',
    'reported_analysis.psf_gate_scores.deep': 'a result',
    'reported_analysis.psnr_variance_over_noise_levels.dino_feature': 'a result, beside ours in fig3b',
    'reported_analysis.psnr_variance_over_noise_levels.patch_embedding_feature': 'a result, beside ours in fig3b',
    'reported_analysis.psnr_variance_over_noise_levels.degraded_image': 'a result, beside ours in fig3b',
    'reported_analysis.stability_measure': 'what fig3b draws',
    'reported_analysis.average_gain_dB.PromptIR': 'a result',
    'reported_analysis.average_gain_dB.DA-CLIP': 'a result',
    'reported_analysis.average_gain_dB.WGWS': 'a result',
    'reported_analysis.average_gain_dB.AirNet': 'a result',
    'reported_analysis.single_task_tie': 'a result',
    'compared_methods.origin_of_figures': 'a remark',
    'unstated': 'marked as our choice where it stands',
}


def noise100():
    return Experiments().budgets['full']['tests']['noise100']['denoise']


def test_every_setting_is_compared_or_said_to_have_no_place():
    assert sorted([*COMPARED, *NOT_EXPRESSED]) == sorted(flat(SETTINGS))


@pytest.mark.parametrize('setting', COMPARED)
def test_the_options_have_the_papers_setting(setting):
    assert COMPARED[setting]() == flat(SETTINGS)[setting]


def test_the_guide_is_dinov2_at_three_depths():
    encoder = ALL4['network_g']['encoder']
    assert 'dinov2' in encoder['name'] and encoder['weights'] == 'auto'
    assert list(encoder['layers']) == ['shallow', 'medium', 'deep']
    assert sorted(encoder['layers'].values()) == list(encoder['layers'].values())
    assert SETTINGS['network']['dino'] == 'DINOv2, frozen; shallow, medium and deep features'


def test_attention_is_divided_by_the_square_root_of_the_channels():
    assert ALL4['network_g']['fusion'] == {'attention': 'sqrt_channels'}


def test_the_losses_are_l1_and_dpc_and_no_others():
    losses = {key: value['type'] for key, value in ALL4['train'].items() if key.endswith('_opt')}
    assert losses == {'pixel_opt': 'L1Loss', 'dpc_opt': 'DPCLoss'}
    assert ALL4['train']['pixel_opt']['loss_weight'] == 1.0


@pytest.mark.parametrize('opt', [ALL4, NOISE], ids=['four tasks', 'noise'])
def test_nothing_is_there_that_the_paper_does_not_have(opt):
    training = opt['train']
    assert set(training['optim_g']) == {'type', 'lr', 'betas'}
    assert training['ema_decay'] == 0 and training['warmup_iter'] == -1
    assert not {'grad_clip_norm', 'phases'} & set(training)
    assert opt['model_type'] == 'RestorationModel' and 'stages' not in NOISE['datasets']['train']


def test_networks_are_tested_as_they_are_trained():
    assert TESTS['network_g'] == ALL4['network_g']
    assert TESTS['path']['param_key_g'] == 'params'


def test_what_the_paper_leaves_open_is_marked():
    text = options_file('train_dinoir_all4').read_text(encoding='utf-8')
    for key in ('manual_seed', 'use_hflip', 'use_rot', 'name: vit_base_patch14_dinov2', 'layers: {shallow', 'psf:',
                'layers: [3', 'layer_weights', '- {iters: 200000'):  # fmt: skip
        (line,) = [line for line in text.splitlines() if line.strip().startswith(key)]
        assert 'open' in line and 'our choice' in line, key
    for key in ('tasks:', 'guide_at'):
        line = text.split(f'\n  {"  " * (key == "tasks:")}{key}')[0].splitlines()[-1]
        assert 'open' in line and 'our choice' in line, key


def test_the_table_of_deviations_lists_those_that_there_are():
    paper, ours = (flat({key: value for key, value in opt.items() if key not in ('name', 'manual_seed')})
                   for opt in (ALL4, RECOMMENDED))  # fmt: skip
    deviating = {key for key in {**paper, **ours} if paper.get(key) != ours.get(key)}
    table = [line.split(' | ') for line in DOCUMENT.read_text(encoding='utf-8').splitlines() if line.startswith('| `')]
    assert {cells[0].strip('| `') for cells in table} == deviating
    assert all(len(cells) == 4 and cells[3].strip(' |') for cells in table)
    assert deviating == set(Experiments().budgets['recommended']['options'])
