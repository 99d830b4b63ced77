"""What metrics are given of the images that a network restores."""

import csv
import json
import math
from types import SimpleNamespace

import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.models import build_model
from basicsr.utils import tensor2img
from torch import nn

from dinoir_plugin.models import figures_log, validation
from dinoir_plugin.models.validation import Validation
from tests.models.test_restoration_model import options  # noqa: F401


class Images(list):
    opt = {'name': 'set'}  # noqa: RUF012


class Brighter(nn.Module):
    """Gives much that is above 1."""

    size_multiple = 1

    def forward(self, image):
        return image + 0.5


def test_metrics_see_the_image_clipped_and_not_rounded(options, monkeypatch):  # noqa: F811
    # on the CPU the host's conversion to 8 bits clips the image in its place; on a GPU it works on a copy
    monkeypatch.setattr(validation, 'tensor2img', lambda images: tensor2img([image.clone() for image in images]))
    metrics = {'psnr': {'type': 'calculate_psnr_all_in_one', 'crop_multiple': 1}}
    options['val'] = {'save_img': False, 'metrics': metrics}
    model = build_model(options)
    model.net_g_ema = Brighter()
    torch.manual_seed(0)
    lq, gt = torch.rand(2, 3, 24, 20)
    images = Images([{'lq': lq, 'gt': gt, 'lq_path': 'a.png', 'gt_path': 'a.png', 'task': 'rain'}])
    Validation(model, SimpleNamespace(dataset=images), 1, False).run(None)
    error = ((lq.double() + 0.5).clamp(0, 1) - gt.double()).square().mean().item()
    assert abs(model.metric_results['psnr'] + 10 * math.log10(error)) < 1e-4


PSNR = {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}


@pytest.fixture
def small(options):  # noqa: F811
    options['network_g'] = {'type': 'DnCNN', 'nc': 4, 'nb': 2}
    del options['train']['dpc_opt']
    return options


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(validation, 'get_root_logger', lambda: SimpleNamespace(info=lines.append))
    return lines


class Board:
    """Stands for TensorBoard's writer."""

    def __init__(self):
        self.scalars, self.strips = {}, {}

    def add_scalar(self, tag, value, iteration):
        self.scalars[tag, iteration] = value

    def add_image(self, tag, pixels, iteration, dataformats):
        assert dataformats == 'HWC' and str(pixels.dtype) == 'uint8'
        self.strips[tag, iteration] = pixels


def pairs(**tasks):
    """Items of two images a task, the degraded ones of the sides that are given."""
    torch.manual_seed(0)
    items = [
        {'lq': torch.rand(3, *side), 'gt': torch.rand(3, 24, 20), 'lq_path': f'{task}{number}.png', 'task': task}
        for task, side in tasks.items()
        for number in range(2)
    ]
    return Images(items)


def psnr(image, target):
    return calculate_psnr(tensor2img(image.clone()), tensor2img(target.clone()), crop_border=2)


def test_the_input_is_measured_once_and_stands_beside_the_output(small, log, monkeypatch, tmp_path):
    small['val'] = {'save_img': False, 'metrics': {**PSNR, 'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}}
    monkeypatch.setattr(validation.Measures, 'of_image', of_image := Counting(validation.Measures.of_image))
    monkeypatch.setattr('basicsr.metrics.niqe.niqe', lambda *_: 5.0)
    model, board, images = build_model(small), Board(), pairs(rain=(24, 20), haze=(24, 20))
    for iteration in (1, 2):
        Validation(model, SimpleNamespace(dataset=images), iteration, False).run(board)
    assert of_image.count == 4 + 4 + 4
    worth = [psnr(item['lq'], item['gt']) for item in images]
    rain, haze = sum(worth[:2]) / 2, sum(worth[2:]) / 2
    mean = (rain + haze) / 2
    for whole, by_task in (log[:2], log[2:]):
        assert f' (input {mean:.4f})\tBest: ' in whole and '# niqe: 5.0000\tBest: ' in whole
        assert f' (input {rain:.4f}), niqe 5.0000' in by_task
    content = json.loads((tmp_path / 'metrics_set.json').read_text())
    assert content['input'] == {'rain': {'psnr': rain}, 'haze': {'psnr': haze}, 'average': {'psnr': mean}}
    assert [image['input'] for image in content['images']] == [{'psnr': value} for value in worth]
    with (tmp_path / 'metrics_set.csv').open(newline='') as file:
        assert [float(line['input_psnr']) for line in csv.DictReader(file)] == 2 * [rain, haze, mean]
    for place, value in (('', mean), ('rain/', rain), ('haze/', haze)):
        assert [board.scalars[f'metrics/set/{place}input_psnr', n] for n in (1, 2)] == [value, value]
    assert board.scalars['metrics/set/psnr', 2] == content['means']['average']['psnr']
    assert content['about']['checkpoint'] is None


class Counting:
    def __init__(self, function):
        self.function, self.count = function, 0

    def __get__(self, instance, owner):
        def counted(*args):
            self.count += 1
            return self.function(instance, *args)

        return counted


@pytest.mark.parametrize(('val', 'side'), [({'input': False}, (24, 20)), ({}, (12, 10))])
def test_no_input_where_it_is_switched_off_or_of_another_size(small, log, val, side, tmp_path):
    small['val'] = {'save_img': False, 'metrics': PSNR, **val}
    model, board = build_model(small), Board()
    model.net_g_ema = nn.Upsample(size=(24, 20))
    Validation(model, SimpleNamespace(dataset=pairs(rain=side)), 1, False).run(board)
    assert 'input' not in log[0] and 'input' not in (tmp_path / 'metrics_set.csv').read_text()
    assert 'input' not in json.loads((tmp_path / 'metrics_set.json').read_text())
    assert list(board.scalars) == [('metrics/set/psnr', 1)]


def test_strips_show_input_output_and_target_of_four_images_at_most(small, log):
    small['val'] = {'save_img': False, 'metrics': PSNR}
    model, board, images = build_model(small), Board(), pairs(rain=(24, 20), haze=(24, 20), blur=(24, 20))
    images[0]['lq'] = images[0]['lq'][:, :12, :10]
    model.net_g_ema = nn.Upsample(size=(24, 20))
    Validation(model, SimpleNamespace(dataset=images), 3, False).run(board)
    names = ['rain/rain0', 'rain/rain1', 'haze/haze1', 'blur/blur0']
    assert list(board.strips) == [(f'images/set/{name}', 3) for name in names]
    strip = board.strips['images/set/rain/rain0', 3]
    assert strip.shape == (24, 3 * 20, 3)
    assert (strip[:, 40:, ::-1] == tensor2img(images[0]['gt'])).all()
    high = [torch.rand(3, 600, 300), torch.rand(1, 600, 300), torch.rand(6, 300, 150)]
    figures_log.add_strip(board, 'high', high, 1)
    assert board.strips['images/high', 1].shape == (512, 3 * 256, 3)


def test_the_last_iteration_is_validated_once(make_project):
    project = make_project()
    project.add_validation(val_freq=2)
    tasks = project.options['datasets']['val']['tasks']
    project.options['datasets']['val_more'] = {'name': 'more', 'type': 'MixedDegradationDataset', 'tasks': tasks}
    project.train['total_iter'] = 4
    project.options['logger']['save_checkpoint_freq'] = 4
    log = project.run().log
    # at iterations 2 and 4, of two sets; the host asks once more at the end, and warns of several sets
    assert log.count('# denoise: ') == 4, log
    assert 'Validation check: the figures of iteration 4 stand above.' in log
    assert 'supported by SRModel' not in log
    project.train['total_iter'] = 5
    log = project.run('--auto_resume').log
    assert log.count('# denoise: ') == 2
