"""The paper's runs: options in step with their source, a real run."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from skimage import data
from skimage.io import imsave
from skimage.metrics import peak_signal_noise_ratio

from dinoir_plugin.cli import main
from dinoir_plugin.core.options_files import CHECKOUT, options_file
from dinoir_plugin.core.yaml_options import OptionsLoader
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.experiments import cost, degraded, published, report, runs
from dinoir_plugin.experiments.flat_options import flat_files
from dinoir_plugin.experiments.measured import RunError, figures, not_measured, refuse_stale, result_file
from dinoir_plugin.experiments.variants import Experiments, every_paper, read_yaml, training_options
from dinoir_plugin.experiments.variants import test_options as options_for_test
from dinoir_plugin.methods.perceive_ir.frozen_clip import frozen_clip
from dinoir_plugin.methods.perceive_ir.prompts import PromptFile, QualityPrompts, write_prompts
from dinoir_plugin.preflight.builds import check_builds
from dinoir_plugin.preflight.schema import check_schema
from tests.experiments.test_report import made_up, rows_of

pytestmark = pytest.mark.usefixtures('folder')


def test_files_in_options_are_in_step_with_their_source(experiments):
    written = flat_files(experiments)
    assert set(written) == set((CHECKOUT / 'dinoir').glob('*'))
    for path, text in written.items():
        assert path.read_text() == text, f'{path} is not what `dinoir reproduce options` writes'


def test_the_paper_is_all_there(experiments):
    tables = experiments.tables
    assert [name for name in tables if name.startswith('table')] == [f'table{number}' for number in range(1, 7)]
    assert {run for table in tables for run in experiments.runs_of(table)} == set(experiments.runs)
    not_built = {name: [row[0] for row in about['rows'] if row[-1] is None] for name, about in tables.items()}
    assert not_built['table1'] == not_built['table2'] == ['DA-CLIP']
    printed = read_yaml(published.FOLDER / 'dinoir.yml')['cells']
    for number, count in ((1, 9), (2, 11), (3, 4), (4, 3), (5, 4)):
        rows = list(dict.fromkeys(cell['row'] for cell in printed if cell['table'] == number))
        assert len(rows) == len(tables[f'table{number}']['rows']) == count
    seven = ['rain_high', 'rain_medium', 'noise15', 'noise25', 'noise50', 'blur', 'haze']
    assert tables['table1']['tests'] == tables['table3']['tests'] == tables['mini_all4']['tests'] == seven
    for name, about in tables.items():
        assert set(about['tests']) <= set(experiments.budgets['full']['tests'])
        for budget in filter(lambda budget: experiments.allows(name, budget), experiments.budgets):
            assert set(about['tests']) & set(experiments.budgets[budget]['tests']), (name, budget)
    with pytest.raises(RunError, match='mini_all4 is not for the budget full: add --budget mini'):
        runs.jobs(experiments, 'mini_all4', 'full', 1, None)


def test_runs_differ_in_what_they_say_and_nothing_else(experiments):
    full = experiments.budgets['full']
    base = read_yaml(options_file(full['base']))
    assert training_options(experiments.runs['dinoir'], full, base['name'], base['manual_seed']) == base
    psf = training_options(experiments.runs['psf'], full, base['name'], base['manual_seed'])
    assert psf['train'].pop('dpc_opt', None) is None
    assert psf['network_g'] == base['network_g']
    dpc = training_options(experiments.runs['dpc'], full, base['name'], base['manual_seed'])
    assert dpc['network_g'] == base['network_g']['backbone']
    encoder = {key: value for key, value in base['network_g']['encoder'].items() if key != 'layers'}
    assert dpc['train']['dpc_opt'] == {**base['train']['dpc_opt'], 'encoder': encoder}
    two = training_options(experiments.runs['dinoir_bn'], full, 'x', 0)
    assert [list(options['tasks']) for options in two['datasets'].values()] == [['denoise', 'deblur'], ['denoise'],
                                                                                  ['deblur']]  # fmt: skip
    assert set(experiments.tasks) == set(base['datasets']['train']['tasks'])


SMALL = [
    (paper.paper, budget, run)
    for paper in every_paper() for budget in ('mini', 'tiny') if budget in paper.budgets for run in paper.runs
]  # fmt: skip


@pytest.mark.parametrize(('paper', 'budget', 'run'), SMALL)
def test_runs_of_the_small_budgets_build(paper, budget, run, folder):
    experiments = Experiments(paper)
    if not experiments.learns(run):
        pytest.importorskip('bm3d')
    options = training_options(experiments.runs[run], experiments.budgets[budget], 'x', 0, data='images')
    options = yaml.load(yaml.safe_dump(options), Loader=OptionsLoader)
    check_schema(options, is_train=True)
    for phase, dataset in options['datasets'].items():
        dataset['phase'] = phase
        for task in dataset['tasks'].values():
            seen = '1_2.png' if task.get('pairing') == 'reside' else '1.png'
            names = {'dataroot_gt': '1.png', 'dataroot_lq': seen, 'dataroot_medium': seen}
            for key, name in names.items():
                if key in task:
                    Path(task[key]).mkdir(parents=True, exist_ok=True)
                    imsave(Path(task[key]) / name, data.astronaut()[:150, :160], check_contrast=False)
            if 'meta_info_file' in task:
                Path(task['meta_info_file']).parent.mkdir(parents=True, exist_ok=True)
                Path(task['meta_info_file']).write_text('1.png\n')
    use_stand_ins(options)
    check_builds(options, is_train=True)


def use_stand_ins(options):
    """Put random weights in the place of fetched ones, and prompts in that of stage 1's; leave proxies out."""
    small_vit, small_clip = {'embed_dim': 96, 'num_heads': 3}, {'vision_layers': 1, 'text_layers': 1}
    for key, small in (('encoder', small_vit), ('daclip', small_clip)):
        block = options['network_g'].get(key, {})
        if block.get('weights') == 'auto':
            block.update(weights='random', model_args=small)
    if 'clip_opt' in options['train']:
        loss = options['train']['clip_opt']
        Path(loss['prompts']).parent.mkdir(parents=True)
        write_prompts(loss['prompts'], PromptFile(QualityPrompts(frozen_clip(**loss['clip']).network), 1, True))
        del options['train']['difficulty_opt']['proxies']


def test_single_tasks_have_a_setting_of_their_own(experiments):
    noise, rain = (
        training_options(experiments.runs[run], experiments.budgets['full'], 'x', 0)
        for run in ('dinoir_noise', 'rain_shallow')
    )
    assert list(noise['datasets']) == ['train', 'val_noise'] and list(rain['datasets']) == ['train', 'val_rain']
    assert noise['datasets']['train']['tasks']['denoise']['degradation']['sigma'] == {'choices': [15, 25, 50]}
    assert rain['datasets']['val_rain']['tasks']['derain']['dataroot_lq'] == 'datasets/rain100l/test/rain.lmdb'
    assert rain['network_g']['encoder']['layers'] == {'shallow': 3} and 'dpc_opt' not in rain['train']
    for options in (noise['datasets']['train'], rain['datasets']['train']):
        assert (options['batch_size_per_gpu'], options['gt_size'], options.get('stages')) == (4, 128, None)


def test_weights_are_tested_that_a_training_keeps(experiments):
    for budget, weights in (('full', 'params'), ('recommended', 'params_ema')):
        training = training_options(experiments.runs['dinoir'], experiments.budgets[budget], 'x', 0)
        assert options_for_test(training, {}, 'x', Path('x.pth'), {})['path']['param_key_g'] == weights


def test_every_guided_row_of_mini_has_a_control_with_random_weights(experiments):
    runs_of = {name: experiments.runs[name] for name in experiments.runs_of('mini_all4')}
    guided = {name: run for name, run in runs_of.items() if run.get('levels') != [] and 'random_encoder' not in run}
    for run in guided.values():
        assert {**run, 'random_encoder': True} in runs_of.values()
    for budget in ('mini', 'tiny'):
        options = training_options(experiments.runs['dinoir'], experiments.budgets[budget], 'x', 0)
        assert options['train']['dpc_opt']['loss_weight'] == 1.0


def test_a_run_that_begins_with_anothers_network_comes_after_it(experiments):
    for budget in ('full', 'tiny'):
        names = {job.run: job for job in runs.jobs(experiments, 'table1', budget, 2, None) if job.seed == 1}
        assert list(names).index('wgws') == list(names).index('wgws_stage1') + 1
        first, second = names['wgws_stage1'], names['wgws']
        assert first.tests == {} and second.tests
        begins = second.training['path']
        assert begins['pretrain_network_g'] == str(first.checkpoint) and begins['strict_load_g'] is False
        assert str(first.checkpoint) == f'experiments/{budget}_wgws_stage1_seed1/models/net_g_latest.pth'


def test_what_learns_nothing_is_measured_once_and_left_out_without_its_package(experiments, monkeypatch, capfd):
    (job,) = [job for job in runs.jobs(experiments, 'table2', 'tiny', 3, None) if job.run == 'cbm3d']
    assert job.checkpoint is None and job.trained
    assert options_for_test(job.training, job.tests, job.name, None, {})['path'] == {'pretrain_network_g': None}
    monkeypatch.setitem(sys.modules, 'bm3d', None)
    runs.do(job, '[1/1]')
    said = capfd.readouterr().err
    assert said.startswith('dinoir: [1/1] tiny_cbm3d_seed0: left out. network_g.type: CBM3D needs the package bm3d (')
    assert not Path('results').exists()
    for test in job.tests:
        made_up(job.name, test, 30.0)
    text = report.markdown(experiments, 'table2', 'tiny', seeds=3)
    assert rows_of(text, '## Ours')['CBM3D'] == ['30.00 / 0.3000'] * 3


def test_a_run_is_trained_and_measured_once_and_never_mixed_with_another(experiments, folder, capfd):
    size = experiments.budgets['tiny']
    size['options'].update({'train.total_iter': 2, 'train.scheduler.periods': [2], 'train.warmup_iter': -1})
    size['tests'] = {'noise25': size['tests']['noise25']}
    for part in ('train', 'heldout'):
        (folder / 'datasets' / 'quickstart' / part).mkdir(parents=True)
        imsave(folder / 'datasets' / 'quickstart' / part / '1.png', data.coffee()[:72, :80], check_contrast=False)
    job = next(job for job in runs.jobs(experiments, 'table3', 'tiny', seeds=1, data=None) if job.run == 'dpc')
    runs.do(job, '[1/1]')
    content = json.loads(result_file(job.name, 'noise25').read_text())
    assert content['means']['average']['psnr'] > 10
    assert figures([job.name], 'noise25', 'psnr').mean == content['means']['average']['psnr']
    said, steps = capfd.readouterr().err.splitlines(), ('training', 'measuring noise25')
    assert said == [f'dinoir: [1/1] {job.name}: {step}; output: {job.log}' for step in steps]
    assert len(runs.TESTED.findall(job.log.read_text())) == 1 and 'End of training' in job.log.read_text()
    millions, time_taken = cost.cells([job.name])
    assert 0 < float(millions) < 1 and re.fullmatch(r'0:\d\d:\d\d', time_taken)
    assert (folder / 'results' / job.name / 'visualization' / 'noise25' / 'denoise').is_dir()
    before = result_file(job.name, 'noise25').stat().st_mtime_ns
    runs.do(job, '[1/1]')
    assert capfd.readouterr().err == f'dinoir: [1/1] {job.name}: there already\n'
    assert result_file(job.name, 'noise25').stat().st_mtime_ns == before
    assert not not_measured(job.name, job.tests, job.checkpoint)
    runs.refuse_stale_results(job)
    os.utime(folder / 'experiments' / job.name / 'models' / 'net_g_latest.pth')  # trained anew
    checkpoint = Path('experiments') / job.name / 'models' / 'net_g_latest.pth'
    assert not_measured(job.name, job.tests, checkpoint) == job.tests
    assert not_measured(job.name, job.tests, Path('gone.pth')) == job.tests
    others = {'noise25': {'denoise': {**job.tests['noise25']['denoise'], 'dataroot_gt': 'elsewhere'}}}
    assert not_measured(job.name, others) == others
    with pytest.raises(RunError, match='the figures of noise25 are of other images, or of an earlier network'):
        refuse_stale(job.name, others)
    # another table asks for another test of the same network: both are there afterwards
    noise50 = {'denoise': {**job.tests['noise25']['denoise'], 'degradation': {'type': 'gaussian_noise', 'sigma': 50}}}
    runs.do(job._replace(tests={'noise50': noise50}), '[1/1]')
    assert not list((folder / 'results').glob('*_archived_*'))
    assert not not_measured(job.name, {**job.tests, 'noise50': noise50}, checkpoint)
    degraded.measure(experiments, 'tiny', job.tests)
    (item,) = MixedDegradationDataset({'name': 'x', 'type': 'MixedDegradationDataset', 'phase': 'test', 'seed': 0,
                                       'tasks': job.tests['noise25']})  # fmt: skip
    image, target = (np.rint(item[key].numpy() * 255) for key in ('lq', 'gt'))
    expected = peak_signal_noise_ratio(target, image, data_range=255)
    assert figures(['tiny_degraded'], 'noise25', 'psnr').mean == pytest.approx(expected, abs=1e-6)
    # trained by hand, from the same options or from others
    (folder / 'experiments' / 'reproduce' / f'{job.name}.yml').unlink()
    runs.do(job, '[1/1]')
    job.training['train']['total_iter'] = 3
    for asked in (lambda: runs.do(job, '[1/1]'), lambda: runs.refuse_stale_results(job)):
        with pytest.raises(RunError, match=f'experiments/{job.name} was trained with other options'):
            asked()
    assert read_yaml(folder / 'experiments' / 'reproduce' / f'{job.name}.yml')['train']['total_iter'] == 2


def test_a_stop_reaches_the_trainer_which_saves(experiments, folder):
    photos = folder / 'datasets' / 'quickstart' / 'train'
    photos.mkdir(parents=True)
    imsave(photos / '1.png', data.coffee()[:72, :80], check_contrast=False)
    job = next(job for job in runs.jobs(experiments, 'table3', 'tiny', seeds=1, data=None) if job.run == 'restormer')
    job.training['logger']['print_freq'] = 1
    program = f'from dinoir_plugin.experiments import runs; runs.do(runs.Job(*{tuple(job)!r}), "[1/1]")'
    with subprocess.Popen([sys.executable, '-c', program], env={**os.environ, 'PYTHONPATH': str(CHECKOUT.parent)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:  # fmt: skip
        while run.poll() is None and not (job.log.is_file() and 'iter:       2' in job.log.read_text()):
            time.sleep(0.05)
        run.terminate()
        said = run.communicate()[0]
    assert 'RunError: stopped; the same command goes on from here' in said.splitlines()[-1], said
    assert said.startswith(f'dinoir: [1/1] {job.name}: training; output: {job.log}\n') and 'iter:' not in said
    assert 'Stopped by SIGTERM after iteration' in job.log.read_text()
    (state,) = (folder / 'experiments' / job.name / 'training_states').iterdir()
    assert 2 <= int(state.stem) < 150


@pytest.mark.parametrize(
    ('budget', 'data', 'message'),
    [
        ('tiny', '.', 'tiny has its own images'),
        ('mini', None, 'needs a folder with bsd400, cbsd68, .* none was named'),
        ('mini', '.', r'\. lacks bsd400'),
    ],
)
def test_the_folder_of_images_is_checked_first(experiments, budget, data, message):
    with pytest.raises(RunError, match=message):
        runs.data_folder(experiments, budget, data)


def test_commands_say_what_there_is_and_what_is_missing(folder, capsys):
    def reproduce(*words):
        status = main(['reproduce', *words])
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    script = [sys.executable, CHECKOUT.parent / 'scripts' / 'reproduce.py', 'list']
    listed = subprocess.run(script, capture_output=True, text=True, check=False)
    assert listed.returncode == 0 and 'done: of 4, full 0, recommended 0, mini 0, tiny 0' in listed.stdout
    assert 'fig1b      drawn from table6' in listed.stdout and 'fig7       not built' in listed.stdout
    drawn = reproduce('run', 'fig5', '--budget', 'tiny')
    assert drawn.returncode == 0 and drawn.stdout == 'experiments/reproduce/fig5_tiny.png\n'
    assert (folder / 'experiments' / 'reproduce' / 'fig5_tiny.png').stat().st_size > 10_000
    empty = reproduce('report', 'table3', '--budget', 'tiny')
    assert empty.returncode == 1
    assert 'table3: nothing has been measured with budget tiny. Run it first' in empty.stderr
    assert not list((folder / 'experiments' / 'reproduce').glob('table3*'))
    absent = reproduce('run', 'table3')
    assert absent.returncode == 1 and 'dinoir: datasets.test_rain_high.tasks.derain.dataroot_gt: ' in absent.stderr
    assert 'no such folder: datasets/did_mdn/test/clean.lmdb' in absent.stderr
    drawn = reproduce('report', 'fig3b', '--budget', 'tiny', '--seeds', '2')
    assert drawn.returncode == 1 and 'no --seeds, no --data' in drawn.stderr
