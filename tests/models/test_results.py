"""Figures of validation in both conventions, task by task, as JSON and CSV."""

import csv
import json
import re

import pytest

from dinoir_plugin.models import results
from dinoir_plugin.models.result_table import write_results
from dinoir_plugin.models.results import Figures, Measured

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
    assert {image['name'] for image in content['images'] if image['task'] == 'dehaze'} >= {'1400_1', '1400_2'}
    assert list(content['about']['metrics']) == list(BOTH)

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
            said = re.findall(rf'# {task}: .*?\b{metric} [\d.]+ \(input ([\d.]+)\)', log)
            assert said == 2 * [f'{content["input"][task][metric]:.4f}'] == logged(task, f'input_{metric}')
        said = re.findall(rf'# {metric}: ([\d.]+)', log)
        assert said == logged('average', metric)
    # both from one image; rounding to 8 bits makes the difference
    assert 0 < abs(means['average']['psnr'] - means['average']['psnr_all_in_one']) < 0.05


def test_lines_of_a_resumed_run_are_replaced(tmp_path):
    def write(iteration, value, metric='psnr'):
        images = [Measured(0, 'rain', 'a.png', {metric: value})]
        results.write(tmp_path, 'set', iteration, Figures({'rain': {metric: value}}), images)
        return [(line['iteration'], line['task'], float(line[metric])) for line in read(tmp_path / 'metrics_set.csv')]

    assert write(10, 1.0) == [('10', 'rain', 1.0), ('10', 'average', 1.0)]
    assert len(write(20, 2.0)) == 4
    assert write(20, 3.0) == [('10', 'rain', 1.0), ('10', 'average', 1.0), ('20', 'rain', 3.0), ('20', 'average', 3.0)]
    assert len(write(5, 4.0)) == 2
    # a run that goes on with another metric
    figures = Figures({'rain': {'ssim': 0.5}}, {'rain': {'ssim': 0.25}})
    results.write(tmp_path, 'set', 30, figures, [Measured(0, 'rain', 'a.png', {'ssim': 0.5}, {}, {'ssim': 0.25})])
    lines = read(tmp_path / 'metrics_set.csv')
    cells = [(line['iteration'], line['psnr'], line['ssim'], line['input_ssim']) for line in lines[::2]]
    assert cells == [('5', '4.0', '', ''), ('30', '', '0.5', '0.25')]
    assert len(write(30, 4.0)) == 4
    write('test', float('inf'))
    assert json.loads((tmp_path / 'metrics_set.json').read_text())['means']['rain'] == {'psnr': None}


def test_images_are_named_without_ending_where_that_keeps_them_apart(tmp_path):
    names = [('rain', 'a.png'), ('rain', 'a.jpg'), ('rain', 'b.0.5.png'), ('rain', 'c.page1'), ('haze', 'a.png')]
    images = [Measured(number, *name, {'psnr': 1.0}) for number, name in enumerate(names)]
    results.write(tmp_path, 'set', 1, Figures({'rain': {'psnr': 1.0}, 'haze': {'psnr': 1.0}}), images)
    written = json.loads((tmp_path / 'metrics_set.json').read_text())['images']
    assert [image['name'] for image in written] == ['a.png', 'a.jpg', 'b.0.5', 'c.page1', 'a']


def test_a_table_has_a_column_for_each_set_and_task(tmp_path):
    facts = {'checkpoint': None, 'metrics': {}, 'restoring': {'tile': 64}, 'versions': {'torch': '2'}, 'machine': 'CPU'}
    sets = {
        'one': Figures({'': {'psnr': 30.0, 'niqe': 4.0, 'fid': float('nan')}}, {'': {'psnr': 20.0}}),
        'two': Figures({'rain': {'psnr': float('inf')}, 'haze': {'psnr': 25.0}}),
    }
    write_results(tmp_path, sets, facts)
    assert (tmp_path / 'results.md').read_text() == (
        '|  | one | two/rain | two/haze | average |\n|---|---|---|---|---|\n'
        '| psnr | 30.0000 | inf | 25.0000 | inf |\n| psnr, input | 20.0000 | - | - | - |\n'
        '| niqe | 4.0000 | - | - | - |\n| fid | - | - | - | - |\n\ntile: 64; torch 2; CPU.\n'
    )
