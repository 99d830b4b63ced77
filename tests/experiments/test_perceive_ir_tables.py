"""Perceive-IR's tables: stage 1 comes first and once, tests are the protocols', reports say who published what."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from dinoir_plugin.datasets.protocols import PROTOCOLS, fragment
from dinoir_plugin.experiments import perceive_ir_folds, report, runs
from dinoir_plugin.experiments.variants import Experiments, as_yaml, read_yaml
from tests.experiments.test_report import made_up, rows_of

pytestmark = pytest.mark.usefixtures('folder')
STAGE_1 = ['perceive_fold0', 'perceive_fold1', 'perceive_prompts']


@pytest.fixture
def experiments():
    return Experiments('perceive_ir')


@pytest.mark.parametrize('table', ['perceive3', 'perceive5'])
@pytest.mark.parametrize('budget', ['full', 'tiny'])
def test_stage_1_comes_before_what_needs_its_files_and_once_for_all_seeds(experiments, table, budget):
    todo = runs.jobs(experiments, table, budget, 2, None)
    seeds = {run: [job.seed for job in todo if job.run == run] for run in experiments.runs_of(table)}
    assert {run for run, own in seeds.items() if own == [0]} == set(STAGE_1)
    assert all(own == [0, 1] for run, own in seeds.items() if run not in STAGE_1)
    made = set[str]()
    for job in todo:
        text = as_yaml({'options': job.training, 'words': list(job.prepare)})
        named = set(re.findall(r'experiments/(?:reproduce/)?(\w+_seed\d+)', text.replace(job.name, '')))
        assert named <= made, (job.name, named - made)
        assert bool(named) == (job.run in ('perceive_prompts', table))
        assert bool(job.prepare) == (job.run == 'perceive_prompts') and bool(job.tests) == (job.run not in STAGE_1)
        made.add(job.name)


def test_all_networks_learn_from_the_same_images_and_for_as_long(experiments):
    for budget in ('full', 'tiny'):
        for table, count in (('perceive3', 3), ('perceive5', 5)):
            todo = [job.training for job in runs.jobs(experiments, table, budget, 1, None) if job.tests]
            lengths = {opt['train']['total_iter'] for opt in todo}
            tasks = [opt['datasets']['train']['tasks'] for opt in todo]
            batches = {opt['datasets']['train']['batch_size_per_gpu'] for opt in todo}
            assert len(lengths) == len(batches) == 1 and all(other == tasks[0] for other in tasks)
            assert len(tasks[0]) == count
            lists = {Path(block['meta_info_file']).parent for block in tasks[0].values()}
            assert lists == {Path(experiments.budgets[budget]['lists'], 'train')}
            assert all(sum(phase['iters'] for phase in opt['train'].get('phases', [{'iters': max(lengths)}]))
                       == max(lengths) for opt in todo)  # fmt: skip
            # the release's: 4 GPUs with 2 patches for three tasks, 2 for five
            assert budget == 'tiny' or batches == {8 if count == 3 else 4}


def test_the_tests_are_those_of_the_protocols(experiments):
    for table, name, ending in (('perceive3', 'perceive_ir3', '_16'), ('perceive5', 'perceive_ir5', '')):
        printed = yaml.safe_load(fragment(PROTOCOLS[name], Path('datasets')))
        assert printed['val']['metrics'] == experiments.metrics
        expected = {f'{block["name"]}{ending}': block['tasks']
                    for phase, block in printed['datasets'].items() if phase != 'train'}  # fmt: skip
        tests = {test: experiments.budgets['full']['tests'][test] for test in experiments.tables[table]['tests']}
        for tasks in tests.values():
            for block in tasks.values():
                if block.get('crop_multiple') == 1:
                    del block['crop_multiple']
        assert tests == expected


def test_images_are_prepared_before_a_training_and_not_after_it(experiments, monkeypatch, capfd):
    started = []

    def start(words, log, title, progress=None):
        started.append(words[1])
        if words[1] == 'basicsr.train':
            job.checkpoint.parent.mkdir(parents=True)
            job.checkpoint.touch()
            runs.write(job.checkpoint.parents[1] / 'options.yml', job.training)

    monkeypatch.setattr(runs, 'start', start)
    job = next(job for job in runs.jobs(experiments, 'perceive3', 'tiny', 1, None) if job.run == 'perceive_prompts')
    runs.do(job, '[1/1]')
    assert started == ['dinoir_plugin', 'basicsr.train']
    runs.do(job, '[1/1]')
    assert len(started) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[0] == f'dinoir: [1/1] {job.name}: preparing its images; output: {job.log}'
    assert said[-1] == f'dinoir: [1/1] {job.name}: there already'


def test_folds_are_dealt_out_of_the_quickstarts_photographs(experiments, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['perceive_ir_folds', 'tiny'])
    assert perceive_ir_folds.main() == 0
    lists = folder / experiments.budgets['tiny']['lists']
    assert f'{lists.relative_to(folder)}: denoise 51, dehaze 51' in capsys.readouterr().out
    for task in experiments.tasks:
        parts = [{line.split('_')[0] for line in (lists / part / f'{task}.txt').read_text().split()}
                 for part in ('fold0', 'fold1', 'without0', 'heldout', 'train')]  # fmt: skip
        assert not parts[0] & parts[1] and parts[2] == parts[1] and not parts[3] & parts[4]
    training = next(job.training for job in runs.jobs(experiments, 'perceive3', 'tiny', 1, None)
                    if job.run == 'perceive_fold0')  # fmt: skip
    trained = read_yaml(lists / 'without0.yml')
    for task, block in training['datasets']['train']['tasks'].items():
        own = trained['datasets']['train']['tasks'][task]['meta_info_file']
        assert Path(own).resolve() == Path(block['meta_info_file']).resolve()


def test_a_report_says_that_third_parties_published_the_figures_and_what_is_doubtful(experiments):
    for test in experiments.tables['perceive3']['tests']:
        made_up('full_perceive3_seed0', test, 32.0)
    text = report.markdown(experiments, 'perceive3', 'full', seeds=1)
    assert rows_of(text, '### mean')['Perceive-IR'][:3] == ['32.00', '32.63', '-0.63']
    assert rows_of(text, '### cbsd68_sigma15_16')['Restormer'] == ['–', '33.72 (?)', '–', '–', '0.865 (?)', '–']
    assert rows_of(text, '### sots_outdoor_16')['GridFormer'][:2] == ['not built here', '30.37']
    assert '- third parties, of Perceive-IR (IEEE TIP 35, 2026): Perceive-IR. From the same compilation' in text
    assert '- NAFNet, mean: the mean of the cells is 29.67/0.884\n' in text
    assert 'images are cropped to sides that 16 divides before they are restored' in text
    assert '- Perceive-IR: its stage 1 is trained once for all seeds' in text
    assert 'perceive_prompts for 100000 iterations of 32 patches of 224 px' in text
