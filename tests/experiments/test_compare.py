"""Comparing runs: joined by image, paired by seed, and no more said than the figures show."""

import json
import math
import statistics

import pytest
from scipy import stats

from dinoir_plugin.cli import main
from dinoir_plugin.core.console import BAD, GOOD
from dinoir_plugin.experiments.compare import find_groups, report
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.paired import better_side, difference, statement

A, B = [30.0, 28.0, 33.5, 25.0, 31.0], [30.5, 28.2, 34.1, 25.1, 31.6]


def run(folder, values, *, named='{}.png', task='denoise', more=None, iteration='x', metric='psnr', set_name='noise'):
    """Write what a validation leaves; values are numbers, or a name to a number."""
    if not isinstance(values, dict):
        values = {f'i{number}': value for number, value in enumerate(values)}
    images = [{'task': task, 'name': named.format(name), metric: value} for name, value in values.items()]
    images = [{**image, 'input': {metric: 1.0}} for image in images] if more else images
    known = [value for value in values.values() if value is not None]
    means = {metric: statistics.fmean(known)} if known else {}
    content = {'iteration': iteration, 'means': {task or 'all': means, 'average': means}, 'images': images}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'metrics_{set_name}.json').write_text(json.dumps({**content, **(more or {})}))
    return folder


def rows(text):
    """Cells of the lines of Markdown's tables, without heads."""
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| ')]
    return [cells for cells in lines if cells[0] != 'set']


def compare(*folders, **how):
    return rows(report(find_groups(list(folders), **how), markdown=True))


def test_a_difference_is_that_of_pairs_with_students_interval(tmp_path):
    (row,) = compare(run(tmp_path / 'a', A), run(tmp_path / 'b', B))
    differences = [b - a for a, b in zip(A, B)]
    low, high = stats.t.interval(0.95, 4, statistics.fmean(differences), stats.sem(differences))
    assert row == [
        'noise', 'psnr', '5', '29.50', '29.90', '+0.40', f'{statistics.stdev(differences):.2f}',
        f'{low:+.2f} to {high:+.2f}', f'B is better by 0.40 ± {(high - low) / 2:.2f} dB on 5 images (one seed each)',
    ]  # fmt: skip


def test_what_may_be_said_follows_from_interval_and_direction():
    def said(first, second, metric='psnr', options=(), **how):
        return statement(difference([(first, second)], images=len(first), **how), metric, 'B', dict(options))

    assert said([20, 30], [21, 28]) == 'no difference that 2 images could show: -0.50 ± 19.06 dB (one seed each)'
    assert said(A, A) == 'the same on 5 images'
    assert said([20.0], [21.0]) == '+1.00 dB, of which nothing can be said: one image, one seed'
    assert said(B, A).startswith('B is worse by 0.40 ± ')
    assert said(A, B, 'lpips').startswith('B is worse by ')
    assert said(A, B, 'x', {'type': 'calculate_niqe'}).startswith('B is worse by ')
    assert said(A, B, 'my_own').startswith('B is higher by 0.4000 ± ')
    assert '2 images could show: +0.00002 ± 0.00006 (' in said([0.9, 0.8], [0.90002, 0.80003], 'ssim')
    assert better_side('psnr_y', {}) == 'higher' and better_side('x', {'better': 'lower'}) == 'lower'


def test_images_join_by_name_old_and_new_files_alike(tmp_path):
    old = run(tmp_path / 'a', {'x': 30.0, 'y': 31.0, 'z': 32.0, 'only': 10.0, 'same': None}, named='{}.bmp')
    new = run(tmp_path / 'b', {'z': 33.0, 'x': 31.0, 'y': 32.0, 'same': 50.0},
              named='{}', more={'about': {'metrics': {}}, 'input': {'denoise': {'psnr': 1.0}}})  # fmt: skip
    (row,) = compare(old, new)
    assert row[2:6] == ['3', '31.00', '32.00', '+1.00']
    text = report(find_groups([old, new]))
    assert 'noise: left out, as they are not in all runs: 1 of the images.' in text
    assert 'noise: left out of psnr, which is infinite where an image is equal to its target: 1 of the images.' in text


def test_with_several_seeds_their_spread_counts(tmp_path):
    runs = []
    for seed, more in enumerate((0.5, 0.7, 0.6)):
        runs += [run(tmp_path / f'plain_seed{seed}', [value + seed for value in A]),
                 run(tmp_path / f'guided_seed{seed}', [value + seed + more for value in A])]  # fmt: skip
    margin = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    (row,) = compare(*runs)
    assert row[2:7] == ['5', '30.50', '31.10', '+0.60', '0.10']
    assert row[-1] == f'B is better by 0.60 ± {margin:.2f} dB over 3 seeds on 5 images'
    text = report(find_groups(runs[:-1]))
    assert f'A: {tmp_path / "plain"} (seeds 0, 1, 2), the reference' in text and 'over 2 seeds' not in text
    assert 'no difference that 2 seeds could show: +0.60 ± 1.27 dB' in text
    assert 'none of their seed: 1 of the runs.' in text and 'One seed says nothing' not in text
    # the same given by hand
    assert compare(a=runs[::2], b=runs[1::2]) == [row]


def test_metrics_of_a_whole_set_have_no_spread_with_one_seed(tmp_path):
    def fid(name, value):
        folder = run(tmp_path / name, A)
        content = json.loads((folder / 'metrics_noise.json').read_text())
        content['means']['denoise']['fid'] = value
        (folder / 'metrics_noise.json').write_text(json.dumps(content))
        return folder

    folders = [fid(f'{name}_seed{seed}', value + seed) for seed in (0, 1) for name, value in (('a', 40), ('b', 30))]
    assert compare(*folders[:2])[1] == [
        'noise', 'fid', '–', '40.00', '30.00', '-10.00', '–', '–',
        '-10.00, of which nothing can be said: one figure of all images, one seed',
    ]  # fmt: skip
    assert compare(*folders)[1][-1] == 'B is better by 10.00 ± 0.00 over 2 seeds'


def test_tasks_and_sets_have_rows_of_their_own(tmp_path):
    folders = []
    for name in 'ab':
        folder = run(tmp_path / name, A)
        content = json.loads((folder / 'metrics_noise.json').read_text())
        content['means']['derain'] = content['means']['denoise']
        content['images'] += [{**entry, 'task': 'derain'} for entry in content['images']]
        (folder / 'metrics_noise.json').write_text(json.dumps(content))
        folders.append(run(folder, A, task='', set_name='plain'))
    run(folders[0], A, set_name='more')
    text = report(find_groups(folders), markdown=True)
    assert [row[0] for row in rows(text)] == ['noise, denoise', 'noise, derain', 'plain']
    assert f'more is left out: {folders[1]} has no figures of it.' in text


def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path):
    a, other = run(tmp_path / 'a', A), run(tmp_path / 'other', A, named='{}x')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'cut').mkdir()
    (tmp_path / 'cut' / 'metrics_noise.json').write_text('{"means": ')
    y, rgb = ({'about': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': crop}}}} for crop in (0, 4))
    for folders, message in (
        ([a, tmp_path / 'gone'], 'gone: there is no such folder'),
        ([a, tmp_path / 'empty'], 'empty: expected metrics_<set>.json of a validation or test, but there is none'),
        ([a, tmp_path / 'cut'], 'metrics_noise.json: expected the figures of a validation'),
        ([a], 'expected two runs or more'),
        ([a, run(tmp_path / 'b', A, set_name='rain')], 'nothing can be compared. noise is left out: '),
        ([a, other], "no image is in both; they are called 'i0' and 'i0x'"),
        ([run(tmp_path / 'y', A, more=y), run(tmp_path / 'rgb', A, more=rgb)], 'noise: psnr was taken by {'),
    ):  # fmt: skip
        with pytest.raises(RunError) as caught:
            report(find_groups(folders))
        assert message in str(caught.value)
    with pytest.raises(RunError, match=r'has 1 runs and .* 2, and no two of one seed'):
        report(find_groups([], a=[a], b=[a, other]))
    with pytest.raises(RunError, match='expected folders of runs'):
        find_groups([], a=[a])


def test_the_command_writes_markdown_and_draws_validations(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, values in (('a', A), ('b', B)):
        folder = run(tmp_path / name, values, iteration=20)
        lines = [f'{number},{task},{20 + number / 10},19.5\n' for number in (10, 20) for task in ('x', 'average')]
        for set_name in ('noise', 'rain', 'haze'):
            (folder / f'metrics_{set_name}.csv').write_text('iteration,task,psnr,input_psnr\n' + ''.join(lines))
    assert main(['compare', 'a', 'b', '--out', 'new/c.md', '--plot', 'new/c.png']) == GOOD
    said = capsys.readouterr().out
    assert '- B: b, at iteration 20' in said and '  B is better by 0.40 ± ' in said
    assert rows((tmp_path / 'new' / 'c.md').read_text())[0][5] == '+0.40'
    assert (tmp_path / 'new' / 'c.png').stat().st_size > 10_000
    assert main(['compare', 'a', 'b', '--metric', 'ssim']) == BAD
    assert 'No task and metric is in both; a has psnr.' in capsys.readouterr().err
    assert main(['compare', 'a', 'b', '--out', 'c.txt']) == BAD
    assert "--out: expected a file that ends in .md, got 'c.txt'" in capsys.readouterr().err
    for folder in 'ab':
        run(tmp_path / f'test_{folder}', A)
    assert main(['compare', 'test_a', 'test_b', '--plot', 'c.png']) == BAD
    assert 'expected validations of a training (metrics_<set>.csv)' in capsys.readouterr().err
