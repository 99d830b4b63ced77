"""`dinoir check` looks at all of a run, says all that is wrong, and leaves nothing behind but its image."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dinoir_plugin.cli import main
from dinoir_plugin.core.console import BAD, GOOD, USAGE
from tests.preflight.checking import process, table

OPTIONS = Path(__file__).parents[2] / 'options'


def test_good_options_in_a_process_of_its_own(project):
    (project.folder / 'o.yml').write_text(yaml.safe_dump(project.options))
    done = process(project.folder, 'check', 'o.yml', '--full')
    assert done.returncode == GOOD, done.stdout + done.stderr
    rows = table(done.stdout)
    assert rows['datasets.train.tasks.denoise'] == (
        'ok', '4 images, 160x96 to 280x216, 8 bit, folder, all decoded'
    )  # fmt: skip
    assert rows['datasets.train.tasks.derain'][1].startswith('4 pairs, ')
    assert rows['datasets.train'][1].endswith('batch 2 of 32 px, then batch 2 of 64 px')
    assert rows['datasets.val'] == ('ok', '1 task, 4 images')
    assert {verdict for verdict, _ in rows.values()} == {'ok', 'warning'}
    assert 'has random weights' in done.stdout
    assert done.stdout.endswith('\n1 warning\n')
    assert done.stderr.startswith('dinoir: o.yml: checking options, images, network and weights\n')
    assert 'decoding images: 100%' in done.stderr and '8/8' in done.stderr
    assert 'Traceback' not in done.stderr
    assert sorted(os.listdir(project.folder)) == ['check_tiny.png', 'o.yml']


def test_the_options_of_the_paper_in_an_empty_folder(tmp_path):
    done = process(
        tmp_path, 'check', OPTIONS / 'train_dinoir_all4.yml', '--force_yml', 'network_g:encoder:weights=random'
    )
    assert done.returncode == BAD
    written = yaml.safe_load((OPTIONS / 'train_dinoir_all4.yml').read_text())
    for phase, dataset in written['datasets'].items():
        for name, task in dataset['tasks'].items():
            for key in ('dataroot_gt', 'dataroot_lq'):
                if key in task:
                    root = f'datasets.{phase}.tasks.{name}.{key}: no such folder: {task[key]}; '
                    assert f'{root}the path is relative to {tmp_path}' in done.stdout
    assert table(done.stdout)['train.dpc_opt'][0] == 'ok'
    assert os.listdir(tmp_path) == []


def test_one_fault_does_not_hide_the_next(project, check):
    project.options['train']['ema_deacy'] = 0.9
    project.options['logger']['print_freq'] = 'often'
    project.options['train']['optim_g']['type'] = 'Adamw'
    project.train['tasks']['denoise']['degradation']['sigm'] = 3
    project.train['tasks']['haze'] = {'dataroot_gt': '/nowhere', 'dataroot_lq': '/elsewhere'}
    project.options['network_g']['guide_at'] = ['latnet']
    result = check()
    assert result.status == BAD
    for message in (
        "train.ema_deacy: unknown option. did you mean 'ema_decay'?",
        "logger.print_freq: expected a whole number from 1, got 'often'",
        "train.optim_g.type: torch.optim has no 'Adamw'. did you mean 'AdamW'?",
        'datasets.train.tasks.denoise.degradation.sigm: ',
        'datasets.train.tasks.haze.dataroot_gt: no such folder: /nowhere',
        'datasets.train.tasks.haze.dataroot_lq: no such folder: /elsewhere',
        "network_g.guide_at: the backbone Restormer has no module 'latnet'",
    ):
        assert result.out.count(f'    {message}') == 1, result.out
    assert result.rows['datasets.train.tasks.derain'][0] == 'ok'
    assert result.rows['train.dpc_opt'] == ('not checked', 'needs network_g')
    assert 'disk space' not in result.rows


def test_what_the_schema_makes_impossible_is_not_checked(project, check):
    project.options['trian'] = project.options.pop('train')
    result = check()
    assert result.status == BAD
    assert "trian: unknown option. did you mean 'train'?" in result.out
    assert result.rows['train.optim_g'][0] == 'not checked'
    assert result.rows['datasets.val.tasks.derain'][0] == 'ok'
    del project.options['num_gpu']
    result = check()
    assert 'num_gpu: this key is required' in result.out
    assert result.rows['everything else'][0] == 'not checked'


def test_force_yml_and_wrong_use(project, check, capsys, tmp_path):
    result = check('--force_yml', 'train:total_iter=9', 'num_gpu=64')
    assert result.status == BAD
    assert result.rows['train'][1] == '9 iterations, amp off'
    assert 'num_gpu: 64 asked for' in result.out
    assert check('--force_yml', 'train=').status == BAD
    for arguments, said in (
        (['check', 'nowhere.yml'], 'there is no options file nowhere.yml'),
        (['check', str(tmp_path / 'options.yml'), '--out', str(tmp_path / 'options.yml')], 'expected a folder'),
        (['check', str(tmp_path / 'options.yml'), '--force_yml', 'trian:total_iter=9'], 'the file has no such block'),
        (['check', str(tmp_path / 'options.yml'), '--force_yml', 'total_iter'], 'expected keys and a value'),
    ):
        assert main(arguments) == USAGE
        assert said in capsys.readouterr().err
    (tmp_path / 'options.yml').write_text('a: [1')
    assert main(['check', str(tmp_path / 'options.yml')]) == BAD
    assert 'options.yml: line 2: ' in capsys.readouterr().err
    assert main([]) == USAGE
    assert 'check an options file' in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(['chekc'])
    assert caught.value.code == USAGE


def test_the_command_line_itself_imports_nothing_heavy():
    code = "import sys, dinoir_plugin.cli; print({'torch', 'numpy', 'basicsr'} & set(sys.modules))"
    env = {**os.environ, 'PYTHONPATH': str(OPTIONS.parent)}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout == 'set()\n'
