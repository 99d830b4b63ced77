"""The figures of trained networks, from made-up results."""

import json
import math
import statistics

import cv2
import numpy as np
import pytest
from skimage import data

from dinoir_plugin.experiments import result_figures as figures
from dinoir_plugin.experiments.measured import RunError, result_file
from dinoir_plugin.experiments.runs import jobs
from dinoir_plugin.experiments.variants import Experiments

SIDE = 150
NAMES = ('a', 'b', 'c', 'd')
PSNR = {'restormer': (20, 31, 25, 40), 'psf': (22, 33, 27, None)}  # None: infinite


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """One table of two methods, of three tests, on four photographs; in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        image = data.astronaut()[40 * number : 40 * number + SIDE, 100 : 100 + SIDE]
        (tmp_path / 'clean').mkdir(exist_ok=True)
        cv2.imwrite(f'clean/{name}.png', image[..., ::-1])
    made_up = Experiments()
    noise = {'dataroot_gt': '{data}/clean', 'degradation': {'type': 'gaussian_noise', 'sigma': 25}}
    blur = {'dataroot_gt': '{data}/clean', 'degradation': {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': 2.5}}
    tests = {'noise25': {'denoise': noise}, 'blur': {'deblur': blur}, 'rain': {'deblur': blur}}
    made_up.budgets['made_up'] = {**made_up.budgets['tiny'], 'tests': tests}
    made_up.tables['table'] = {
        'title': 'Made up', 'tests': list(tests),
        'rows': [['Elsewhere', None], ['Restormer', 'restormer'], ['Restormer, guided', 'psf'], ['DPC', 'dpc']],
    }  # fmt: skip
    return made_up


def measure(run, test, task, values=None, names=NAMES, seed=0):
    """What BasicSR's tester leaves behind: figures, and images whose red says which image it is."""
    name = f'made_up_{run}_seed{seed}'
    images = [{'task': task, 'name': f'{n}.png', 'psnr': v} for n, v in zip(names, values or PSNR[run])]
    path = result_file(name, test)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'images': images}))
    folder = path.parent / 'visualization' / test / task
    folder.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(names):
        restored = np.zeros((SIDE, SIDE, 3), np.uint8)
        restored[..., 2] = 60 * number + 10
        cv2.imwrite(str(folder / f'{stem}_{name}.png'), restored)
    return folder


def methods(experiments):
    chosen = {job.run: job for job in jobs(experiments, 'table', 'made_up', 1, '.')}
    return {'Restormer': chosen['restormer'], 'guided': chosen['psf'], 'DPC': chosen['dpc']}


def test_a_row_shows_the_median_image_as_the_tester_had_it(experiments):
    for run in PSNR:
        measure(run, 'noise25', 'denoise')
    line = figures.shown(methods(experiments), 'noise25')
    assert line.name == 'c.png'  # means 21, 32, 26, infinite
    assert list(line.restored) == ['Restormer', 'guided']
    assert (line.restored['guided'] == [130, 0, 0]).all()
    clean = cv2.imread('clean/c.png')[..., ::-1]
    assert (line.target == clean).all()
    error = line.degraded.astype(float) - clean
    assert 20 < error.std() < 26
    expected = 10 * math.log10(255**2 / np.mean(error**2))
    assert line.psnr == pytest.approx({'degraded': expected, 'Restormer': 25, 'guided': 27})
    again = figures.shown(methods(experiments), 'noise25')
    assert (again.degraded == line.degraded).all()


def test_rows_are_drawn_of_what_has_been_measured(experiments, tmp_path):
    measure('restormer', 'noise25', 'denoise')
    measure('psf', 'noise25', 'denoise')
    measure('psf', 'blur', 'deblur')
    out = tmp_path / 'figures' / 'rows.png'
    figures.rows(experiments, 'table', 'made_up', out, data='.')
    both = cv2.imread(str(out))
    assert both.shape[1] == 1000
    # two columns of restored images in the upper row and one in the lower: as much of the pure red
    red = (both == [0, 0, 130]).all(-1).nonzero()
    assert len(set(red[1][red[0] > both.shape[0] / 2])) < 0.6 * len(set(red[1]))
    measure('psf', 'rain', 'deblur')
    figures.rows(experiments, 'table', 'made_up', out, data='.')
    assert cv2.imread(str(out)).shape[0] > both.shape[0] + 100


def test_what_does_not_fit_is_refused(experiments, tmp_path):
    with pytest.raises(RunError, match='nothing has been measured with seed 0 and budget made_up'):
        figures.rows(experiments, 'table', 'made_up', tmp_path / 'x.png', data='.')
    folder = measure('restormer', 'noise25', 'denoise')
    (folder / 'c_made_up_restormer_seed0.png').unlink()
    measure('psf', 'noise25', 'denoise')
    with pytest.raises(RunError, match=r'c_made_up_restormer_seed0\.png is missing'):
        figures.shown(methods(experiments), 'noise25')
    measure('psf', 'noise25', 'denoise', names=NAMES[:3])
    with pytest.raises(RunError, match='not all of the images'):
        figures.shown(methods(experiments), 'noise25')


def test_the_detail_is_where_the_target_varies_most():
    target = np.full((100, 120, 3), 128, np.uint8)
    target[60:92, 70:102] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    assert figures.detail(target, 32) == (slice(60, 92), slice(70, 102))
    assert figures.detail(target[:20], 32) == (slice(0, 20), slice(0, 32))


def by_tasks_results(experiments, seeds):
    values = {}
    for place, (*_, run) in enumerate(experiments.tables['table6']['rows']):
        values[run] = [25 + place + 0.5 * seed for seed in range(seeds)]
        for seed, value in enumerate(values[run]):
            path = result_file(f'made_up_{run}_seed{seed}', 'blur')
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({'means': {'average': {'psnr': value}}}))
    return values


def test_psnr_by_tasks_has_a_point_where_all_seeds_are(experiments, tmp_path):
    values = by_tasks_results(experiments, seeds=3)
    result_file('made_up_dinoir_bn_seed1', 'blur').unlink()
    found = figures.by_tasks(experiments, 'made_up', 3)
    assert {method: list(points) for method, points in found.items()} == {
        'baseline': [1, 2, 3, 4], 'DINO-IR': [1, 3, 4],
    }  # fmt: skip
    assert found['baseline'][4].mean == pytest.approx(statistics.mean(values['restormer']))
    assert found['DINO-IR'][1].spread == pytest.approx(0.5)
    for seeds in (1, 3):
        figures.fig1b(experiments, 'made_up', seeds, tmp_path / f'{seeds}.png')
        assert cv2.imread(str(tmp_path / f'{seeds}.png')).shape[1] == 1000


def test_psnr_by_tasks_needs_a_run(experiments, tmp_path):
    with pytest.raises(RunError, match='Run table6 first'):
        figures.fig1b(experiments, 'made_up', 2, tmp_path / 'x.png')
    assert not (tmp_path / 'x.png').exists()
