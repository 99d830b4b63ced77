"""What is wrong in an options file is said in one line, with the option's full path, before anything is made."""

import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY
from skimage import data

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import option
from dinoir_plugin.core.yaml_options import OptionsLoader
from dinoir_plugin.data.captions import Caption, write_captions
from dinoir_plugin.methods.perceive_ir import QualityPrompts
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, write_prompts
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.restoration_model import RestorationModel
from dinoir_plugin.preflight.builds import check_builds
from dinoir_plugin.preflight.schema import check_schema, drives
from dinoir_plugin.preflight.values import run_values
from tests.methods.daclip.test_frozen_daclip import TINY as TINY_DACLIP
from tests.methods.perceive_ir.tiny import CLIP_ARGS as TINY_CLIP

OPTIONS = Path(__file__).parents[2] / 'options'


def write(folder, name, rgb):
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), rgb[..., ::-1])


@pytest.fixture
def folder(tmp_path):
    photo = data.chelsea()[:64, :96]
    write(tmp_path / 'clean', 'a.png', photo)
    write(tmp_path / 'rain', 'a.png', photo)
    write(tmp_path / 'shorter', 'a.png', photo[:60])
    write(tmp_path / 'other', 'b.png', photo)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'words.pth').write_text('not weights')
    torch.save({'params': {'x': torch.ones(1)}}, tmp_path / 'other.pth')
    return tmp_path


@pytest.fixture
def options(folder, tiny_run):
    return tiny_run(folder / 'clean', folder / 'rain')


def put(options, path, value):
    *parents, last = path.split('.')
    for key in parents:
        options = options[key]
    if value is KeyError:
        del options[last]
    else:
        options[last] = value


def refusal(options):
    with pytest.raises(OptionsError) as caught:
        check_schema(options, is_train=True)
        check_builds(run_values(options, is_train=True), is_train=True)
    return caught.value


def test_good_options_pass_and_are_not_changed(options):
    before = deepcopy(options)
    check_schema(options, is_train=True)
    check_builds(options, is_train=True)
    assert options == before


TASKS = 'datasets.train.tasks'


@pytest.mark.parametrize(
    ('path', 'value', 'said'),
    [
        # keys that nobody reads, at every depth, with the nearest valid one
        ('trian', {}, "trian: unknown option. did you mean 'train'?"),
        ('train.ema_deacy', 0.9, "train.ema_deacy: unknown option. did you mean 'ema_decay'?"),
        ('train.optim_g.weight_decya', 0.1, "train.optim_g.weight_decya: unknown option. did you mean 'weight_decay'?"),
        ('train.scheduler.milestone', [1], "did you mean 'milestones'?"),
        ('train.dpc_opt.layer_weight', [1], "dpc_opt.layer_weight: unknown option. did you mean 'layer_weights'?"),
        ('train.pixel_opt.loss_wight', 1, "train.pixel_opt.loss_wight: unknown option. did you mean 'loss_weight'?"),
        ('val.metrics.psnr.crop_boarder', 1, "did you mean 'crop_border'?"),
        ('network_g.guide_att', [], "network_g.guide_att: unknown option. did you mean 'guide_at'?"),
        ('network_g.backbone.num_block', 3, "network_g.backbone.num_block: unknown option. did you mean 'num_blocks'?"),
        ('network_g.encoder.weight', 'auto', "network_g.encoder.weight: unknown option. did you mean 'weights'?"),
        ('datasets.train.gt_siz', 3, 'datasets.train.gt_siz: '),
        (f'{TASKS}.denoise.degradation.sigm', 3, f'{TASKS}.denoise.degradation.sigm: '),
        # things that are missing, or not what they should be
        ('num_gpu', KeyError, 'num_gpu: this key is required'),
        ('train.total_iter', KeyError, 'train.total_iter: this key is required'),
        ('network_g.encoder', KeyError, 'network_g.encoder: this key is required'),
        ('train.ema_decay', 'much', "train.ema_decay: expected a number, got 'much'"),
        ('train.ema_decay', None, 'train.ema_decay: expected a number, got None'),
        ('train.optim_g.lr', KeyError, 'train.optim_g.lr: this key is required'),
        ('datasets.train.num_worker_per_gpu', KeyError, 'datasets.train.num_worker_per_gpu: this key is required'),
        ('datasets.train.num_worker_per_gpu', 1.5, 'datasets.train.num_worker_per_gpu: expected a whole number'),
        ('datasets.train.prefetch_mode', 'gpu', 'datasets.train.prefetch_mode: expected cpu, cuda or nothing'),
        ('datasets.train.prefetch_mode', 'cuda', 'datasets.train.pin_memory: prefetch_mode: cuda needs pin_memory'),
        ('datasets.train.persistent_workers', True, 'datasets.train.persistent_workers: there are no workers'),
        ('datasets.train.pin_memory', 'yes', "datasets.train.pin_memory: expected true or false, got 'yes'"),
        ('path.pretrain_network_g', '{folder}/words.pth', 'path.pretrain_network_g: '),
        ('path.pretrain_network_g', '{folder}/other.pth', "nothing in '{folder}/other.pth' fits network_g: it lacks"),
        ('network_g.backbone.out_channels', 4, 'network_g.backbone.out_channels: expected 3 like inp_channels'),
        ('network_g', {'type': 'NAFNet', 'img_channel': 1}, 'network_g: the network does not take RGB images'),
        ('network_g.guide_at', [], 'network_g.guide_at: expected names of modules, got none'),
        ('train.dpc_opt.type', 'L1Loss', 'train.dpc_opt.layers: unknown option'),
        ('train.edge_opt', {'loss_weight': 1}, 'train.edge_opt.type: this key is required, but missing'),
        ('train.edge_opt', {'type': 'EgdeLoss'}, "train.edge_opt.type: nothing is registered as 'EgdeLoss'. did you"),
        ('train.losses', {'edge': {'type': 'EgdeLoss'}}, 'train.losses.edge.type: nothing is registered'),
        ('train.losses', {'edge': {'type': 'EdgeLoss', 'sigma': 1}}, 'train.losses.edge.sigma: unknown option'),
        ('train.losses', {'pixel': {'type': 'EdgeLoss'}}, 'train.losses.pixel: there is a train.pixel_opt as well'),
        ('train.losses', ['EdgeLoss'], 'train.losses: expected a block'),
        ('train.phases', [{'iters': 0}], 'train.phases[0].iters: expected a whole number from 1, got 0'),
        ('train.phases', [{'iters': 1}, {'lr': 1}], 'train.phases[1].iters: this key is required'),
        ('train.phases', [{'iters': 1, 'lr': 0}], 'train.phases[0].lr: expected a number above 0, got 0'),
        ('train.phases', [{'iters': 1, 'loss': []}], "train.phases[0].loss: unknown option. did you mean 'losses'?"),
        ('train.phases', [{'iters': 1, 'losses': ['dcp']}], "train.phases[0].losses[0]: there is no loss 'dcp'"),
        ('train.phases', [{'iters': 1, 'train_only': ['bckbone']}], 'train.phases[0].train_only: '),
        ('val.sampler', {'type': 'Slow'}, "val.sampler.type: there is no sampler 'Slow'"),
        # values of the right key and the wrong kind, under their own path
        ('network_g.psf.dim', 'foo', "network_g.psf.dim: expected a whole number, got 'foo'"),
        ('network_g.psf', 3, 'network_g.psf: expected a block of options, got 3'),
        ('network_g.fusion', {'attention': 3}, "network_g.fusion.attention: there is no attention '3'"),
        ('network_g.backbone.dim', 8.5, 'network_g.backbone.dim: expected a whole number, got 8.5'),
        ('network_g.backbone.num_blocks', [1, 'x'], 'network_g.backbone.num_blocks[1]: expected a whole number, '),
        ('network_g.backbone.bias', 'no', "network_g.backbone.bias: expected true or false, got 'no'"),
        ('train.dpc_opt.eps', 'small', "train.dpc_opt.eps: expected a number, got 'small'"),
        ('train.dpc_opt.layer_weights', [1, 'x'], "train.dpc_opt.layer_weights[1]: expected a number, got 'x'"),
        ('train.checkpointing', ['latent', 3], "train.checkpointing: the backbone Restormer has no module '3'"),
        ('train.checkpointing', ['latent', True], 'train.checkpointing[1]: expected text, got True'),
        ('num_gpu', 64, 'num_gpu: 64 asked for'),
        ('model_type', 'DINOIRModle', "did you mean 'DINOIRModel'?"),
        ('path.resume_state', '/nowhere.state', "path.resume_state: there is no file '/nowhere.state'"),
        ('train.optim_g.type', 'Adamw', "train.optim_g.type: torch.optim has no 'Adamw'. did you mean 'AdamW'?"),
        ('train.scheduler.type', 'Cosine', 'train.scheduler.type'),
        ('val.metrics.psnr.type', 'psnr', 'val.metrics.psnr.type'),
        ('train.amp', 'bf61', "train.amp: expected off, bf16 or fp16, got 'bf61'"),
        ('train.amp', True, 'train.amp: expected off, bf16 or fp16, got True'),
        ('train.checkpointing', 'latent', 'train.checkpointing: expected a list of names'),
        ('train.checkpointing', ['latnet'], "train.checkpointing: the backbone Restormer has no module 'latnet'"),
        ('val.metrics.task', {'type': 'calculate_psnr', 'crop_border': 0}, 'val.metrics.task: a metric gives a column'),
        ('val.metrics.psnr.crop_border', 200, 'val.metrics.psnr: cannot measure a trial image, 256x256 pixels'),
        ('val.metrics.psnr.input_order', 'XYZ', 'val.metrics.psnr: cannot measure a trial image'),
        ('val.tile', 100, 'val.tile_overlap: expected an overlap from 0 to half of the tile, got 64 of 100 pixels'),
        ('datasets.valid', {}, 'datasets.valid: expected train, val or val_<anything>'),
        # images
        (f'{TASKS}.average', {'dataroot_gt': '{folder}/clean'}, f'{TASKS}.average: figures of all tasks together'),
        (f'{TASKS}.a/b', {'dataroot_gt': '{folder}/clean'}, f'{TASKS}.a/b: a task gives a folder its name'),
        (f'{TASKS}.denoise.dataroot_gt', '/nowhere', f'{TASKS}.denoise.dataroot_gt: '),
        (f'{TASKS}.denoise.dataroot_gt', '{folder}/empty', f'{TASKS}.denoise.dataroot_gt: '),
        (f'{TASKS}.derain.dataroot_lq', '{folder}/shorter', '96x60'),
        (f'{TASKS}.derain.dataroot_lq', '{folder}/other', f'{TASKS}.derain'),
        ('datasets.train.gt_size', 65, '65'),
        # the encoder
        ('network_g.encoder.name', 'mixer_s32_224', "network_g.encoder.name: 'mixer_s32_224' does not give "),
        ('network_g.encoder.name', 'vit_tiny_dinov9', "network_g.encoder.name: timm has no model 'vit_tiny_dinov9'"),
        ('network_g.encoder.name', 3, "network_g.encoder.name: timm has no model '3'"),
        ('network_g.encoder.name', True, 'network_g.encoder.name: expected text, got True'),
        ('network_g.encoder.weights', 3, "network_g.encoder.weights: expected 'auto', 'installed', 'random' or"),
        ('network_g.encoder.model_args.embed_dim', 50, 'network_g.encoder.model_args: '),
        ('network_g.encoder.model_args.dpeth', 4, 'network_g.encoder.model_args: '),
        ('network_g.encoder.model_args', 4, 'network_g.encoder.model_args: expected a block of options, got 4'),
        ('network_g.encoder.layers.deep', 4, 'network_g.encoder.layers.deep: expected indices from 0 to 3'),
        ('network_g.encoder.weights', '{folder}/words.pth', 'network_g.encoder.weights: '),
        ('network_g.encoder.weights', '/nowhere.pth', 'network_g.encoder.weights: '),
        ('train.dpc_opt.layers', [9], 'train.dpc_opt.layers: expected indices from 0 to 3'),
        ('network_g.guide_at', ['latnet'], "network_g.guide_at: the backbone Restormer has no module 'latnet'"),
        ('network_g.guide_at', 'latent', 'network_g.guide_at: expected a list'),
    ],
)
def test_one_error_with_the_options_full_path(path, value, said, options, folder):
    if isinstance(value, str):
        value = value.format(folder=folder)
    put(options, path, value)
    assert said.format(folder=folder) in str(refusal(options))


def test_two_validation_sets_of_one_name_are_refused(options, folder):
    tasks = {'derain': {'dataroot_gt': str(folder / 'clean'), 'dataroot_lq': str(folder / 'rain')}}
    for phase in ('val', 'val_2'):
        options['datasets'][phase] = {'name': 'x', 'type': 'MixedDegradationDataset', 'tasks': tasks, 'phase': 'val'}
    assert str(refusal(options)).startswith('datasets.val_2.name: datasets.val has this name, too')
    options['datasets']['val_2']['name'] = 'y'
    options['datasets']['train']['name'] = 'x'
    check_builds(options, is_train=True)


@pytest.mark.parametrize('left', [{}, {'pixel_opt': None}])
def test_a_run_has_a_loss_of_any_name(options, left):
    del options['train']['pixel_opt']
    check_schema(options, is_train=True)
    del options['train']['dpc_opt']
    options['train'].update(left)
    assert str(refusal(options)).startswith('train: expected at least one loss, got none')


def test_what_a_loss_needs_the_training_set_provides(options):
    class Pairs(torch.nn.Module):
        needs = frozenset({'gt', 'query'})

    LOSS_REGISTRY.register(Pairs)
    options['train']['pairs_opt'] = {'type': 'Pairs'}
    try:
        said = str(refusal(options))
        Pairs.needs = frozenset({'gt', 'task'})
        check_builds(options, is_train=True)
    finally:
        del LOSS_REGISTRY._obj_map['Pairs']
    assert said.startswith('train.pairs_opt.type: Pairs needs query, which MixedDegradationDataset does not provide')


def test_what_a_loss_needs_is_switched_on_by_an_option(options):
    options['train']['contrast_opt'] = {'type': 'ContrastiveQueueLoss'}
    said = str(refusal(options))
    assert said.startswith('train.contrast_opt.type: ContrastiveQueueLoss needs key, which MixedDegradationDataset')
    assert 'Give datasets.train.second_patch' in said
    options['datasets']['train']['second_patch'] = True
    check_builds(options, is_train=True)


def test_a_derived_model_is_checked_and_may_declare_more(options):
    @dataclass(frozen=True, kw_only=True)
    class More(RunOptions):
        pace: int = option('What the model reads beside.', 1)

    class Derived(RestorationModel):
        declares = More

    options.update(model_type='Derived', pace='fast')
    assert not drives(options)
    MODEL_REGISTRY.register(Derived)
    try:
        assert drives(options)
        assert str(refusal(options)) == "pace: expected a whole number, got 'fast'."
        options['pace'] = 2
        options['train']['optim_g']['type'] = 'Adamw'
        assert str(refusal(options)).startswith('train.optim_g.type: ')
    finally:
        del MODEL_REGISTRY._obj_map['Derived']


def test_the_best_is_kept_only_where_it_was_saved(options):
    options['logger'].update(keep_last=2, save_checkpoint_freq=2)
    with pytest.warns(UserWarning, match='val.val_freq .1. is no multiple of logger.save_checkpoint_freq .2.'):
        check_builds(options, is_train=True)


def test_the_trainer_says_it_in_one_line_and_makes_no_folder(options, folder):
    options['network_g']['encoder']['wieghts'] = 'random'
    (folder / 'o.yml').write_text(yaml.safe_dump(options))
    command = [sys.executable, '-m', 'basicsr.train', '-opt', 'o.yml']
    before = sorted(folder.iterdir())
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "o.yml: network_g.encoder.wieghts: unknown option. did you mean 'weights'?"
    assert len(done.stderr.splitlines()) <= 2  # before it, that the options are being checked
    assert sorted(folder.iterdir()) == before


# losses that download VGG
WITH_VGG = ('SCRLoss', 'HCRLoss', 'VGGPerceptualLoss', 'DifficultyAdaptiveLoss')


def use_random_vgg(train):
    for loss in train.values():
        if isinstance(loss, dict) and loss.get('type') in WITH_VGG:
            loss['weights'] = 'random'


def use_random_encoders(network, loss):
    for owner in (network, loss):
        if 'encoder' in owner:
            owner['encoder']['weights'] = 'random'
        if owner.get('daclip'):
            # a small one, whose embeddings are as wide as the file's
            width = owner['backbone'].get('context_dim', 512)
            owner['daclip'].update(weights='random', model_args={**TINY_DACLIP, 'embed_dim': width})
    if network['type'] == 'DACLIPStage1':
        network['weights'] = 'random'
        network.setdefault('model_args', {'vision_layers': 1, 'text_layers': 1})


def use_stand_ins_of_stage_1(options):
    """Give Perceive-IR a tiny CLIP, prompts of it, and no proxies."""
    losses = [loss for loss in (options.get('train') or {}).values() if isinstance(loss, dict)]
    for owner in (options['network_g'], *losses):
        if 'clip' in owner:
            owner['clip'] = {'weights': 'random', 'model_args': TINY_CLIP}
        if 'prompts' in owner:
            Path(owner['prompts']).parent.mkdir(parents=True)
            prompts = QualityPrompts(frozen_clip('random', TINY_CLIP).network)
            write_prompts(owner['prompts'], PromptFile(prompts, 100_000, True))
        owner.pop('proxies', None)


def make_captions(dataset):
    if 'captions' in dataset:
        write_captions(Path(dataset['captions']), [Caption('1.png', 'a cup', task) for task in dataset['tasks']])


@pytest.mark.parametrize('path', sorted(OPTIONS.rglob('*.yml')), ids=lambda path: path.name)
def test_every_options_file_of_the_project_builds(path, tmp_path, monkeypatch):
    """With stand-ins for what is not on this machine: small images for the data sets, random encoder weights."""
    options = yaml.load(path.read_text(), Loader=OptionsLoader)
    is_train = 'train' in options['datasets']
    check_schema(options, is_train)
    monkeypatch.chdir(tmp_path)
    photo = data.coffee()[:256, :256]
    for phase, dataset in options['datasets'].items():
        dataset['phase'] = phase.split('_')[0]
        for task in dataset['tasks'].values():
            # folders in the place of LMDBs
            task.update((key, root.removesuffix('.lmdb')) for key, root in task.items() if key.startswith('dataroot'))
            write(Path(task['dataroot_gt']), '1.png', photo)
            if 'meta_info_file' in task:
                Path(task['meta_info_file']).parent.mkdir(parents=True, exist_ok=True)
                listed = '1_2.png' if task.get('pairing') == 'reside' else '1.png'
                Path(task['meta_info_file']).write_text(f'{listed}\n')
            for key in {'dataroot_lq', 'dataroot_medium'} & set(task):
                write(Path(task[key]), '1_2.png' if task.get('pairing') == 'reside' else '1.png', photo)
        make_captions(dataset)
    if options['network_g']['type'] == 'CBM3D':
        pytest.importorskip('bm3d')
    elif not is_train:
        # made by a training run; that a checkpoint fits is for the test above
        assert options['path'].pop('pretrain_network_g')
    elif str(options['path'].get('pretrain_network_g')).startswith('experiments/'):
        del options['path']['pretrain_network_g']  # made by the stage before
    use_random_vgg(options.get('train') or {})
    use_stand_ins_of_stage_1(options)
    use_random_encoders(options['network_g'], (options.get('train') or {}).get('dpc_opt') or {})
    options['num_gpu'] = 0
    check_builds(options, is_train)
