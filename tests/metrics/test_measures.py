"""Metrics as a validation takes them, and what is said of them before a run."""

import inspect
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY
from skimage import data

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.metrics.conventions import in_full
from dinoir_plugin.metrics.functional import perceptual
from dinoir_plugin.metrics.measures import Measures, better_value, find_metric
from dinoir_plugin.preflight.metric_options import check_metrics

NIQE = {'type': 'calculate_niqe', 'crop_border': 0, 'better': 'lower'}
CPU = torch.device('cpu')


def test_niqe_needs_no_target_and_knows_a_good_photograph():
    """Figures of BasicSR itself, whose are near to MATLAB's; see the documentation of `convert_to`."""
    measures = Measures({'niqe': NIQE, 'gray': {**NIQE, 'convert_to': 'gray'}}, CPU)

    def niqe(rgb):
        return measures.of_image('a.png', {'img': rgb[..., ::-1].copy()}, {})[0]

    astronaut = data.astronaut()
    figures = niqe(astronaut)
    assert figures['niqe'] == pytest.approx(3.06495, abs=1e-3)
    assert niqe(data.coffee())['niqe'] == pytest.approx(4.11524, abs=1e-3)
    assert 0 < abs(figures['gray'] - figures['niqe']) < 0.5
    blurred = niqe(cv2.GaussianBlur(astronaut, (0, 0), 2))
    assert blurred['niqe'] == pytest.approx(7.2822, abs=1e-2) and blurred['gray'] > 2 * figures['gray']


def test_a_image_that_a_metric_refuses_is_named():
    for name, shape, reason in (('niqe', (64, 64), '96x96'), ('niqe', (96, 96), '96x96'), ('psnr', (9, 9), 'shapes')):
        kind = NIQE if name == 'niqe' else {'type': 'calculate_psnr', 'crop_border': 0}
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        with pytest.raises(OptionsError) as caught:
            Measures({name: kind}, CPU).of_image('a.png', {'img': image, 'img2': image[1:]}, {})
        assert str(caught.value).startswith(f'val.metrics.{name}: cannot measure a.png, {shape[0]}x{shape[1]} pixels (')
        assert reason in str(caught.value)


def test_means_are_of_images_and_sets_are_judged_whole(weights, photos):
    options = {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'better': 'higher'},
        'fid': {'type': 'calculate_fid', 'feature': 64, 'better': 'lower'},
        'ssim_all_in_one': {'type': 'calculate_ssim_all_in_one', 'better': 'higher'},
    }
    measures = Measures(options, CPU)
    pairs = []
    for clean, *copies in photos:
        for copy in copies:
            images = {'img': copy, 'img2': clean}
            floats = {key: image[..., ::-1].astype(np.float32) / 255 for key, image in images.items()}
            pairs.append(measures.of_image('a.png', images, floats))
            assert pairs[-1][0].keys() == {'psnr', 'ssim_all_in_one'} and pairs[-1][1].keys() == {'fid'}
            assert pairs[-1][0]['psnr'] == calculate_metric(images, {'type': 'calculate_psnr', 'crop_border': 0})
    values, kept = zip(*pairs)
    figures = measures.of_task(values, kept)
    assert list(figures) == list(options)
    assert figures['psnr'] == pytest.approx(np.mean([value['psnr'] for value in values]))
    assert 0 < measures.of_task(values[:2], kept[:2])['fid'] != figures['fid'] > 0


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'type': 'calculate_lpip'}, "did you mean 'calculate_lpips'?"),
        ({**NIQE, 'better': 'higher'}, 'val.metrics.x.better: less is better for calculate_niqe'),
        ({'type': 'calculate_fdi'}, "as 'calculate_fdi'. did you mean 'calculate_fid'"),
        ({'type': 'calculate_lpips', 'better': 'higher'}, 'Write better: lower'),
        ({'type': 'calculate_psnr', 'crop_border': 0, 'better': 'Higher'}, 'expected higher or lower'),
        ({'type': 'calculate_psnr', 'crop_border': 0, 'better': 'lower'}, 'more is better for calculate_psnr'),
        ({'type': 'calculate_ssim_all_in_one', 'better': 'lower'}, 'Write better: higher'),
        ({'type': 'calculate_lpips', 'better': 'lower', 'nett': 'vgg'}, "did you mean 'net'?"),
        ({'type': 'calculate_lpips', 'better': 'lower', 'net': 'vgg19'}, 'val.metrics.x.net: there is no LPIPS'),
        ({'type': 'calculate_fid', 'better': 'lower', 'device': 'cuda'}, 'val.metrics.x.device: unknown option'),
        ({'type': 'calculate_fid', 'better': 'lower', 'feature': 63}, 'val.metrics.x.feature: expected one of 64'),
        ({'type': 'calculate_fid', 'better': 'lower', 'weights': [5]}, 'val.metrics.x.weights: expected text, got [5]'),
    ],
)
def test_options_are_held_against_the_metric_before_a_run(options, said):
    with pytest.raises(OptionsError) as caught:
        check_metrics({'x': options})
    assert said in str(caught.value)


@pytest.fixture
def somebody_elses():
    """Register a metric of somebody else for as long as a test runs."""
    names = []

    def register(name):
        def metric(img, img2, **kwargs):
            return kwargs['scale']

        metric.__name__ = name
        METRIC_REGISTRY.register(metric)
        names.append(name)
        return metric

    yield register
    for name in names:
        del METRIC_REGISTRY._obj_map[name]


def test_a_metric_of_somebody_else_takes_what_it_takes(somebody_elses):
    somebody_elses('loose')
    check_metrics({'x': {'type': 'loose', 'scale': 3, 'better': 'lower'}})


@pytest.mark.parametrize('name', ['calculate_lpips', 'calculate_dists', 'calculate_fid'])
def test_a_metric_of_somebody_else_may_have_the_name_of_one_of_ours_and_wins(somebody_elses, name):
    assert find_metric({'type': name}, 'x').__module__.startswith('dinoir_plugin.')
    theirs = somebody_elses(name)
    assert METRIC_REGISTRY.get(name) is find_metric({'type': name}, 'x') is theirs
    assert better_value(theirs) is None
    image = dict.fromkeys(('img', 'img2'), np.zeros((8, 8, 3), np.uint8))
    measures = Measures({'x': {'type': name, 'scale': 3}}, CPU)
    assert measures.of_image('a.png', image, {}) == ({'x': 3.0}, {})


def test_which_value_is_better_is_known_without_being_written():
    for name in ('fid', 'lpips', 'dists', 'niqe', 'psnr', 'ssim_all_in_one'):
        better = better_value(find_metric({'type': f'calculate_{name}'}, 'x'))
        assert better == ('higher' if name.startswith(('psnr', 'ssim')) else 'lower')
    check_metrics({'x': {'type': 'calculate_niqe', 'crop_border': 0}, 'y': NIQE})


def test_what_is_registered_as_a_metric_takes_two_images():
    assert not {'calculate_fid', 'calculate_fid_basicsr'} & set(METRIC_REGISTRY.keys())
    for _, metric in METRIC_REGISTRY:
        parameters = inspect.signature(metric).parameters
        assert next(iter(parameters)) == 'img' and parameters['kwargs'].kind is inspect.Parameter.VAR_KEYWORD


def test_what_is_not_a_number_names_the_image():
    pair = {key: np.zeros((20, 20, 3), np.uint8) for key in ('img', 'img2')}
    measures = Measures({'psnr': {'type': 'calculate_psnr', 'crop_border': 10}}, torch.device('cpu'))
    with pytest.raises(OptionsError, match=r'val.metrics.psnr: cannot measure a.png, 20x20 pixels .*not a number'):
        measures.of_image('a.png', pair, pair)


def test_missing_weights_are_said_before_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')
    perceptual.dists_network.cache_clear()
    with pytest.raises(OptionsError) as caught:
        check_metrics({'dists': {'type': 'calculate_dists', 'better': 'lower'}})
    place = tmp_path / 'hub' / 'checkpoints' / 'vgg16-397923af.pth'
    said = f"val.metrics.dists.type: expected weights in '{place}', which is not there and cannot be downloaded"
    assert str(caught.value).startswith(said)
    assert 'Fetch https://download.pytorch.org/models/vgg16-397923af.pth' in str(caught.value)


WITHOUT_EXTRA = """
import sys
import basicsr
assert not {'torchmetrics', 'torch_fidelity'} & set(sys.modules)
sys.modules.update(torchmetrics=None, torch_fidelity=None)
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.preflight.metric_options import check_metrics
for kind in ('psnr_all_in_one', 'lpips', 'dists', 'fid'):
    try:
        check_metrics({kind: {'type': f'calculate_{kind}'}})
    except OptionsError as error:
        print(error)
"""


def test_without_the_extra_only_its_metrics_are_refused():
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', WITHOUT_EXTRA]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.splitlines()
    packages = ('torchmetrics', 'torchmetrics', 'torch_fidelity')
    for line, kind, package in zip(lines, ('lpips', 'dists', 'fid'), packages, strict=True):
        assert line.startswith(f'val.metrics.{kind}.type: this metric needs the Python package {package}')
        assert line.endswith('Run: pip install "dinoir_plugin[metrics]".')


@pytest.mark.parametrize(
    ('options', 'more', 'convention'),
    [
        (
            {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
            {'input_order': 'HWC'},
            'Y, 8 bits, crop border 4',
        ),
        (
            {'type': 'calculate_ssim_all_in_one', 'better': 'higher'},
            {'crop_multiple': 16},
            'RGB, floats, sides cropped to multiples of 16',
        ),
        (NIQE, {'input_order': 'HWC', 'convert_to': 'y'}, 'Y, 8 bits, crop border 0'),
        ({'type': 'calculate_fid', 'feature': 64}, {'weights': None}, 'RGB, 8 bits'),
    ],
)
def test_a_metric_is_described_with_its_defaults(options, more, convention):
    given = {key: value for key, value in options.items() if key != 'better'}
    assert in_full(options, 'val.metrics.x') == {**given, **more, 'convention': convention}


def test_the_inputs_columns_are_not_for_other_metrics():
    with pytest.raises(OptionsError, match='this column is for the psnr of the degraded images'):
        psnr = {'type': 'calculate_psnr', 'crop_border': 0}
        check_metrics({'psnr': psnr, 'input_psnr': psnr})
