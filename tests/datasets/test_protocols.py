"""Protocols as they stand in an options file, and what the checks say to it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from basicsr.metrics import calculate_metric
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.protocols import PROTOCOLS, fragment, root_of_test
from dinoir_plugin.datasets.recipe import Recipe
from dinoir_plugin.datasets.store import Store
from dinoir_plugin.methods.daclip.words import WORDS
from dinoir_plugin.metrics.measures import find_metric
from dinoir_plugin.preflight.check import check_run

RUN = {
    'name': 'run', 'model_type': 'RestorationModel', 'num_gpu': 0, 'manual_seed': 0, 'path': {},
    'network_g': {'type': 'DnCNN', 'nc': 8, 'nb': 3, 'act_mode': 'R'},
    'train': {'total_iter': 6, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': {'type': 'L1Loss'},
              'scheduler': {'type': 'MultiStepLR', 'milestones': [6], 'gamma': 0.5}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 3, 'use_tb_logger': False},
}  # fmt: skip


@pytest.mark.parametrize('name', PROTOCOLS)
def test_keys_come_in_the_order_in_which_people_read_them(name, tmp_path):
    train = yaml.safe_load(fragment(PROTOCOLS[name], tmp_path))['datasets']['train']
    order = ['type', *(['sampling'] if PROTOCOLS[name].proportional else []), 'tasks']
    assert list(train) == order and list(train['tasks']) == list(PROTOCOLS[name].tasks)
    assert all(next(iter(block)) == 'dataroot_gt' for block in train['tasks'].values())


def write_root(root, dataset, role):
    """A root with one image; names as RESIDE's pair up with those of the others."""
    root.parent.mkdir(parents=True, exist_ok=True)
    store = Store(root, dataset.name, dataset.key_prefix, Recipe('png'), 'x', 1 << 20)
    key = dataset.key_prefix + ('1_2' if dataset.many_to_one and role == dataset.roles[0] else '1')
    store.commit([(key, cv2.imencode('.png', np.zeros((64, 64, 3), np.uint8))[1].tobytes())])
    store.finish(1, [])
    store.close()


@pytest.mark.parametrize('name', PROTOCOLS)
def test_what_is_printed_passes_the_checks_of_a_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    protocol = PROTOCOLS[name]
    trained = {one for names, _, _ in protocol.tasks.values() for one in names}
    tested = {measured.dataset for measured in protocol.tests.values()}
    for places, sets in ((protocol.root, trained), (root_of_test, tested)):
        for dataset in map(CATALOGUE.get, sorted(sets)):
            for role in dataset.roles:
                write_root(tmp_path / places(dataset.name, role), dataset, role)
    for measured in protocol.tests.values():
        if measured.part is not None:
            (tmp_path / 'did_mdn/test' / f'{measured.part}.txt').write_text('1')
    text = fragment(protocol, tmp_path)
    assert '# all of these roots are there' in text
    options = {**RUN, **yaml.safe_load(text)}
    options['datasets']['train'].update(name='tr', gt_size=32, batch_size_per_gpu=5, num_worker_per_gpu=0)
    options['val'].update(val_freq=3, save_img=False)
    metrics = options['val']['metrics']  # without those of networks, whose weights are not there
    options['val']['metrics'] = {name: block for name, block in metrics.items()
                                 if not hasattr(find_metric(block, name), 'prepare')}  # fmt: skip
    (tmp_path / 'o.yml').write_text(yaml.safe_dump(options))
    report, _ = check_run('o.yml', [], False, tmp_path)
    assert not report.has_errors, report.text()
    assert {row.part for row in report.rows} >= {f'datasets.{phase}' for phase in options['datasets']}


def test_what_is_tested_and_how():
    printed = {name: yaml.safe_load(fragment(protocol, Path('datasets'))) for name, protocol in PROTOCOLS.items()}
    template = yaml.safe_load(options_file('test_dinoir_all4').read_text())
    assert [options['name'] for phase, options in printed['aio3']['datasets'].items() if phase != 'train'] == [
        'sots_outdoor', 'rain100l', 'cbsd68_sigma15', 'cbsd68_sigma25', 'cbsd68_sigma50',
    ]  # fmt: skip
    for name in ('aio3', 'aio5'):
        kinds = {key: metric['type'] for key, metric in printed[name]['val']['metrics'].items()}
        assert kinds == {'psnr': 'calculate_psnr_all_in_one', 'ssim': 'calculate_ssim_all_in_one'}
        noise = printed[name]['datasets']['val_cbsd68_sigma25']['tasks']['denoise']['degradation']
        assert noise == {'type': 'gaussian_noise', 'sigma': 25, 'quantise': 'truncate'}
    assert printed['aio5']['datasets'].keys() >= {'val_gopro', 'val_lol'}
    assert 'val_cbsd68_sigma50' not in printed['aio5']['datasets']
    # Perceive-IR's are trained as its options files say, and cropped before they are restored
    for name, crop, file in (('perceive_ir3', 16, 'train_3tasks'), ('perceive_ir5', None, 'train_5tasks')):
        of_file = yaml.safe_load(options_file(f'perceive_ir/{file}').read_text())['datasets']['train']
        train = printed[name]['datasets']['train']
        assert train['sampling'] == of_file['sampling']
        assert train['tasks'] == {
            task: {'repeat': 1, **{key: value for key, value in block.items() if key != 'meta_info_file'}}
            for task, block in of_file['tasks'].items()
        }
        tests = [block['tasks'] for phase, block in printed[name]['datasets'].items() if phase != 'train']
        assert {block.get('crop_multiple') for tasks in tests for block in tasks.values()} == {crop}
        assert {metric['crop_multiple'] for metric in printed[name]['val']['metrics'].values()} == {1}
    # the paper's four tasks are tested as its own options file does
    ours = [block for phase, block in printed['paper_all4']['datasets'].items() if phase != 'train']
    assert ours == list(template['datasets'].values())


def test_ten_degradations_have_their_words_in_training_and_tests():
    protocol = PROTOCOLS['daclip']
    assert list(protocol.tasks) == [test.task for test in protocol.tests.values()] == list(WORDS)
    datasets = yaml.safe_load(fragment(protocol, Path('datasets')))['datasets']
    assert 'sampling' not in datasets['train']  # equal shares
    tasks = datasets['train']['tasks']
    assert not any({'weight', 'repeat'} & set(block) for block in tasks.values())
    # as many images of each as the paper has, in training and in the tests
    counts = [[CATALOGUE[name].splits[0].counts[0] for name in names] for names, _, _ in protocol.tasks.values()]
    assert [sum(numbers) for numbers in counts] == [2103, 6000, 3550, 485, 3550, 861, 1800, 2680, 1872, 29900]
    tested = [CATALOGUE[test.dataset].splits[-1].counts[0] for test in protocol.tests.values()]
    assert tested == [1111, 1000, 29, 15, 68, 58, 100, 408, 601, 100]


def test_psnr_and_ssim_without_four_pixels_are_those_of_scikit_image():
    """Of RGB and of Y by BT.601, from 16 to 235; SSIM of Gaussian windows, where these lie inside."""
    clean = data.astronaut()[:103, :151]
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 20, clean.shape), 0, 255).round().astype(np.uint8)
    inside = [image[4:-4, 4:-4].astype(np.float64) for image in (noisy, clean)]
    weights = np.array([65.481, 128.553, 24.966]) / 255
    found = {}
    for name, (img, img2), axis in (('', inside, -1), ('_y', [image @ weights + 16 for image in inside], None)):
        found[f'psnr{name}'] = peak_signal_noise_ratio(img2, img, data_range=255)
        found[f'ssim{name}'] = structural_similarity(img2, img, data_range=255, channel_axis=axis, sigma=1.5,
                                                     gaussian_weights=True, use_sample_covariance=False)  # fmt: skip
    pair = {'img': noisy[..., ::-1], 'img2': clean[..., ::-1]}
    metrics = PROTOCOLS['daclip'].metrics
    assert list(metrics) == [*found, 'lpips', 'fid'] == ['psnr', 'ssim', 'psnr_y', 'ssim_y', 'lpips', 'fid']
    for name, expected in found.items():
        assert calculate_metric(pair, metrics[name]) == pytest.approx(expected, abs=1e-4)
