"""Users' reports of runs that a check had accepted: the tests have the reports' numbers."""

import copy
import csv
import json
import os
from pathlib import Path

import cv2
import pytest
import yaml

from dinoir_plugin.core import network_file


def test_report_3_counts_written_as_floats_are_whole_numbers_everywhere(train, dinoir, options):
    options['train']['total_iter'] = 6.0
    options['val']['val_freq'] = 3.0
    options['logger'].update(print_freq=2.0, save_checkpoint_freq=3.0, keep_last=5.0)
    options['manual_seed'] = 10.0
    options['datasets']['train'].update(gt_size=32.0, batch_size_per_gpu=2.0, num_worker_per_gpu=0.0)
    options['network_g'].update(nc=8.0, nb=3.0)
    options['train']['scheduler']['periods'] = [6.0]
    options['val']['metrics']['psnr']['crop_border'] = 2.0
    assert train(options).code is None
    last = Path('experiments/run/models/net_g_latest.pth')
    about = network_file.read(last).description
    assert (about.iteration, about.patch_size, about.network['nc']) == (6, 32, 8)
    assert not any(isinstance(value, float) for value in about.network.values())
    assert 'run, 6 iterations' in dinoir('info', last).out
    assert dinoir('restore', 'data/noisy', 'out', '--checkpoint', last).status == 0
    with open('experiments/run/metrics_va.csv', newline='') as file:
        assert [row['iteration'] for row in csv.DictReader(file)] == ['3', '3', '6', '6']
    options['train']['total_iter'] = options['train']['scheduler']['periods'][0] = 8.0
    again = train(options, '--auto_resume')
    assert again.code is None and 'iter:       8' in again.log


@pytest.mark.parametrize('place', ['train', 'val'])
def test_report_3_halves_are_no_whole_numbers(check, options, place):
    options['train']['total_iter' if place == 'train' else 'warmup_iter'] = 6.5
    result = check(options)
    assert result.status == 1 and 'expected a whole number' in result.out


def test_report_4_names_that_are_numbers_are_names(train, check, options):
    pairs = options['datasets']['train']['tasks'].pop('denoise')
    options['datasets']['train']['tasks'] = {15: pairs, 25: pairs, 0.5: pairs}
    options['datasets']['val']['tasks'] = {15: pairs}
    options['val']['metrics'] = {2: options['val']['metrics']['psnr']}
    text = yaml.safe_dump(options).replace('name: run', 'name: 007').replace('name: va', 'name: 2024-11-28')
    text = text.replace('name: tr', 'name: 1_2')
    assert check(text).status == 0
    done = train(text)
    assert done.code is None
    for task in ('15', '25', '0.5'):
        assert f'l1/{task}: ' in done.log
    assert network_file.read('experiments/007/models/net_g_6.pth').description.tasks == ['0.5', '15', '25']
    best = json.loads(Path('experiments/007/models/best.json').read_text())
    assert list(best) == ['2024-11-28'] and list(best['2024-11-28']) == ['2']


def test_report_5_batches_prepared_on_a_gpu_need_one(train, check, options):
    options['datasets']['train'].update(prefetch_mode='cuda', pin_memory=True)
    said = 'datasets.train.prefetch_mode: cuda prepares batches on a GPU, and this run has none'
    assert check(options).status == 1 and said in check(options).out
    assert train(options).code.startswith(f'o.yml: {said}')
    assert not Path('experiments').exists()


@pytest.mark.parametrize('written', ['1.0e-4', '1e-4', '1.0E-04', '.1e-3', '+1e-4'])
def test_report_6_numbers_with_exponents_are_numbers_in_the_file_and_on_the_command_line(train, options, written):
    text = yaml.safe_dump(options)
    options['train']['total_iter'] = 1
    assert train(text, '--force_yml', f'train:optim_g:lr={written}', 'train:total_iter=1').code is None
    one = Path('experiments/run/models/net_g_latest.pth').read_bytes()
    done = train(yaml.safe_dump(options).replace('lr: 0.001', f'lr: {written}'))
    assert done.code is None and 'lr:(1.000e-04,)' in done.log
    assert one == Path('experiments/run/models/net_g_latest.pth').read_bytes()


def test_report_6_entries_for_blocks_that_are_not_there_are_one_line(train, options):
    assert train(options, '--force_yml', 'trian:total_iter=1').code == (
        'o.yml: --force_yml trian:total_iter=1: the file has no such block. BasicSR makes none.'
    )
    assert train(options, '--force_yml', 'name').code.startswith('o.yml: --force_yml name: expected keys and a value')


@pytest.mark.parametrize(
    ('logger', 'hidden', 'said'),
    [
        ({'use_tb_logger': True, 'wandb': {'project': 'x'}}, 'wandb', 'logger.wandb.project: wandb is not installed'),
        ({'use_tb_logger': False, 'wandb': {'project': 'x'}}, '', 'logger.use_tb_logger: wandb gets its figures from'),
        ({'use_tb_logger': True}, 'tensorboard', 'logger.use_tb_logger: TensorBoard cannot be imported'),
    ],
)
def test_report_7_packages_of_loggers_are_asked_for_before_the_run(
    train, check, options, monkeypatch, logger, hidden, said
):
    if hidden == 'tensorboard':
        monkeypatch.setitem(os.sys.modules, 'torch.utils.tensorboard', None)
    Path('wandb').mkdir()  # as wandb leaves it, and no package
    options['logger'].update(logger)
    assert check(options).status == 1 and said in check(options).out
    assert train(options).code.startswith(f'o.yml: {said}')
    assert not Path('experiments').exists()


def test_report_12_without_targets_there_are_no_figures_and_that_is_said_before(train, check, options):
    options['datasets']['val'] = {
        'name': 'va', 'type': 'SingleImageDataset', 'dataroot_lq': 'data/noisy', 'io_backend': {'type': 'disk'}
    }  # fmt: skip
    said = 'datasets.val: its images have no targets, so there will be no psnr of it'
    result = check(options)
    assert result.status == 0 and said in result.out
    done = train(options)
    assert done.code is None and said in done.log
    assert '# psnr' not in done.log and 'Validation va: no figures' in done.log
    assert not Path('experiments/run/models/best.json').exists()
    assert not list(Path('experiments/run').glob('metrics_*'))


def test_report_14_what_a_name_does_is_said(train, check, options):
    options['name'] = 'undebugged'
    options['train']['total_iter'] = 1
    said = "name: as 'undebugged' has 'debug' in it, BasicSR logs every iteration, validates and saves every 8"
    assert said in check(options).out
    assert said in train(options).log


@pytest.mark.parametrize(
    ('metric', 'side'),
    [({'type': 'calculate_ssim', 'crop_border': 0}, 8), ({'type': 'calculate_psnr', 'crop_border': 5}, 10),
     ({'type': 'calculate_psnr_all_in_one'}, 8), ({'type': 'calculate_niqe', 'crop_border': 0}, 40)],
)  # fmt: skip
def test_report_35_images_too_small_for_a_metric_are_found_before_the_run(train, check, options, metric, side):
    Path('tiny').mkdir()
    small = cv2.imread('data/clean/0.png')[:side, :side]
    cv2.imwrite('tiny/b.png', small)
    for name in ('a', 'c'):
        cv2.imwrite(f'tiny/{name}.png', cv2.imread('data/clean/0.png'))
    tiny = {'dataroot_gt': 'tiny', 'degradation': {'type': 'gaussian_noise', 'sigma': 25}}
    options['datasets']['val']['tasks'] = {'denoise': tiny}
    options['val']['metrics'] = {'m': metric}
    said = f'val.metrics.m: cannot measure images of datasets.val, {side}x{side} pixels'
    assert check(options).status == 1 and said in check(options).out
    assert train(options).code.startswith(f'o.yml: {said}')
    single = copy.deepcopy(options)
    single['datasets']['val'] = {'name': 'va', 'type': 'PairedImageDataset', 'dataroot_gt': 'tiny', 'scale': 1,
                                 'dataroot_lq': 'tiny', 'filename_tmpl': '{}', 'io_backend': {'type': 'disk'}}
    assert said in check(single).out
