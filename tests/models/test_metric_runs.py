"""All kinds of metrics in BasicSR's own test program, on one rank and on two; networks of random weights."""

import csv
import json
import math

import pytest
from skimage import data

from dinoir_plugin.metrics.fid_metric import calculate_fid
from dinoir_plugin.testing.project import write
from tests.metrics.random_weights import INCEPTION, write_weights

TESTER = ('-m', 'basicsr.test')
TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', *TESTER)
OF_IMAGES = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
    'lpips': {'type': 'calculate_lpips', 'net': 'alex', 'crop_border': 2, 'better': 'lower'},
    'dists': {'type': 'calculate_dists', 'better': 'lower'},
    'niqe': {'type': 'calculate_niqe', 'crop_border': 0, 'convert_to': 'gray', 'better': 'lower'},
}


@pytest.fixture
def project(make_project, tmp_path, monkeypatch):
    """A test of two tasks on three images of 96x192 each, and of a set of one image, which leaves a rank none."""
    checkpoints = write_weights(tmp_path / 'torch_home')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch_home'))
    for number, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        crop = photo[100:196, 150:342]
        write(tmp_path / 'clean', str(number), crop)
        write(tmp_path / 'dark', str(number), crop // 2)
        if not number:
            write(tmp_path / 'single', 'only', crop)
    project = make_project()
    noise = {'degradation': {'type': 'gaussian_noise', 'sigma': 25}}
    roots = {name: str(tmp_path / name) for name in ('clean', 'dark', 'single')}
    tasks = {
        'denoise': {'dataroot_gt': roots['clean'], **noise},
        'lighten': {'dataroot_gt': roots['clean'], 'dataroot_lq': roots['dark']},
    }
    single = {'denoise': {'dataroot_gt': roots['single'], **noise}}
    fid = {'type': 'calculate_fid', 'feature': 64, 'weights': str(checkpoints / INCEPTION), 'better': 'lower'}
    project.options = {
        'name': 'measured',
        'model_type': 'DINOIRModel',
        'num_gpu': 'auto',
        'manual_seed': 0,
        'datasets': {
            'test': {'name': 'both', 'type': 'MixedDegradationDataset', 'tasks': tasks},
            'test_2': {'name': 'single', 'type': 'MixedDegradationDataset', 'tasks': single},
        },
        'network_g': project.options['network_g']['backbone'],
        'path': {'pretrain_network_g': None},
        'val': {'save_img': True, 'suffix': None, 'metrics': {**OF_IMAGES, 'fid': fid}},
    }
    return project


def read(folder):
    found = {path.name: path.read_text() for path in folder.iterdir() if path.suffix in ('.csv', '.json', '.md')}
    figures = [f'metrics_{name}.{kind}' for name in ('both', 'single') for kind in ('csv', 'json')]
    assert sorted(found) == [*figures, 'results.md']
    return found


def check_table(text, means):
    heads, _, *rows, empty, line = text.splitlines()
    assert heads == '|  | both/denoise | both/lighten | single | average |' and not empty
    cells = dict(row.removeprefix('| ').split(' | ', 1) for row in rows)
    compared = ['lpips', 'lpips, input', 'niqe', 'psnr', 'psnr, input']
    assert list(cells) == ['dists', 'dists, input', 'fid', *compared]
    assert cells['niqe'].startswith(f'{means["denoise"]["niqe"]:.4f} | {means["lighten"]["niqe"]:.4f} | ')
    assert line.startswith('dists: calculate_dists, RGB, 8 bits, crop border 0; fid: calculate_fid, RGB, 8 bits; ')
    assert '; niqe: calculate_niqe, gray, 8 bits, crop border 0; psnr: calculate_psnr, RGB, 8 bits, crop' in line


def test_figures_of_images_and_of_sets_are_written_and_two_ranks_find_the_same(project):
    log = project.run(command=TESTER).log
    assert 'Best:' not in log
    results = project.folder / 'results' / 'measured'
    found = read(results)
    content = json.loads(found['metrics_both.json'])
    means = content['means']
    assert all(image.keys() == {'task', 'name', *OF_IMAGES, 'input'} for image in content['images'])
    assert all(list(row) == ['dists', 'lpips', 'psnr'] for row in content['input'].values())
    assert f'# psnr: {means["average"]["psnr"]:.4f} (input {content["input"]["average"]["psnr"]:.4f})\n' in log
    check_table((results / 'results.md').read_text(), means)
    assert {task: set(row) for task, row in means.items()} == {
        task: {*OF_IMAGES, 'fid'} for task in ('denoise', 'lighten', 'average')
    }
    assert means['average']['fid'] == pytest.approx((means['denoise']['fid'] + means['lighten']['fid']) / 2)
    assert means['denoise']['fid'] == pytest.approx(fid_of_files(project, results / 'visualization/both/denoise'))
    for row in csv.DictReader(found['metrics_both.csv'].splitlines()):
        assert {metric: float(row[metric]) for metric in (*OF_IMAGES, 'fid')} == means[row['task']]
    assert f'fid {means["lighten"]["fid"]:.4f}' in log and f'# fid: {means["average"]["fid"]:.4f}' in log
    assert log.count('no more images than FID has features (64)') == 1
    # one image has no spread
    assert json.loads(found['metrics_single.json'])['means']['denoise']['fid'] is None

    results.rename(project.folder / 'one')
    project.run('--launcher', 'pytorch', command=TORCHRUN)
    assert read(results) == found


def fid_of_files(project, folder):
    """From the images that the run saved, without the run's code but for the features."""
    import cv2

    fid = calculate_fid(feature=64, weights=project.options['val']['metrics']['fid']['weights'])
    names = [f'{number}.png' for number in range(3)]
    saved = [cv2.imread(str(next(folder.glob(f'{name[:-4]}_*.png')))) for name in names]
    clean = [cv2.imread(str(project.folder / 'clean' / name)) for name in names]
    value = fid.of([fid.keep(*pair) for pair in zip(saved, clean)])
    assert math.isfinite(value)
    return value
