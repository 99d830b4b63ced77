"""Figures of validation in both conventions, task by task, as JSON and CSV."""

import csv
import json
import re

import pytest

from dinoir_plugin.models import results
from dinoir_plugin.models.validation import Measured

BOTH = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
    'psnr_all_in_one': {'type': 'calculate_psnr_all_in_one', 'crop_multiple': 1},
    'ssim_all_in_one': {'type': 'calculate_ssim_all_in_one'},
}


def read(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def test_a_run_writes_what_it_logs(make_project):
    project = make_project()
    project.add_validation(metrics=BOTH, val_freq=2, save_img=False)
    log = project.run().log
    folder = project.folder / 'experiments' / 'tiny'
    content = json.loads((folder / 'metrics_check.json').read_text())
    table = read(folder / 'metrics_check.csv')
    tasks = ['denoise', 'deblur', 'derain', 'dehaze', 'average']
    assert sorted({line['task'] for line in table}) == sorted(tasks)
    assert [line['iteration'] for line in table if line['task'] == 'average'] == ['2', '4']
    means = content['means']

    def logged(task, metric):
        second, fourth = (f'{float(line[metric]):.4f}' for line in table if line['task'] == task)
        return [second, fourth]

    for metric in BOTH:
        assert means['average'][metric] == pytest.approx(sum(means[task][metric] for task in tasks[:4]) / 4)
        of_rain = [image[metric] for image in content['images'] if image['task'] == 'derain']
        assert len(of_rain) == 3 and means['derain'][metric] == pytest.approx(sum(of_rain) / 3)
        last = next(line for line in table if (line['iteration'], line['task']) == ('4', 'average'))
        assert float(last[metric]) == means['average'][metric]
        for task in tasks[:4]:
            said = re.findall(rf'# {task}: .*?\b{metric} ([\d.]+)', log)
            assert said == logged(task, metric)
        said = re.findall(rf'# {metric}: ([\d.]+)', log)
        assert said == logged('average', metric)
    # both from one image; rounding to 8 bits makes the difference
    assert 0 < abs(means['average']['psnr'] - means['average']['psnr_all_in_one']) < 0.05


def test_lines_of_a_resumed_run_are_replaced(tmp_path):
    def write(iteration, value, metric='psnr'):
        images = [Measured(0, 'rain', 'a.png', {metric: value})]
        results.write(tmp_path, 'set', iteration, {'rain': {metric: value}}, images)
        return [(line['iteration'], line['task'], float(line[metric])) for line in read(tmp_path / 'metrics_set.csv')]

    assert write(10, 1.0) == [('10', 'rain', 1.0), ('10', 'average', 1.0)]
    assert len(write(20, 2.0)) == 4
    assert write(20, 3.0) == [('10', 'rain', 1.0), ('10', 'average', 1.0), ('20', 'rain', 3.0), ('20', 'average', 3.0)]
    assert len(write(5, 4.0)) == 2
    # a run that goes on with another metric
    results.write(tmp_path, 'set', 30, {'rain': {'ssim': 0.5}}, [Measured(0, 'rain', 'a.png', {'ssim': 0.5})])
    lines = read(tmp_path / 'metrics_set.csv')
    cells = [(line['iteration'], line['psnr'], line['ssim']) for line in lines[::2]]
    assert cells == [('5', '4.0', ''), ('30', '', '0.5')]
    assert len(write(30, 4.0)) == 4
    write('test', float('inf'))
    assert json.loads((tmp_path / 'metrics_set.json').read_text())['means']['rain'] == {'psnr': None}
