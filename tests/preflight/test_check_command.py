"""`dinoir check` looks at all of a run, says all that is wrong, and leaves nothing behind but its image."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from skimage import data

from dinoir_plugin.cli import main
from dinoir_plugin.core.console import BAD, GOOD, USAGE
from dinoir_plugin.data.sources import LmdbSource
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.preflight import contact_sheet, disk
from dinoir_plugin.preflight.contact_sheet import CELL, LABEL_HEIGHT, ROW_HEIGHT, WIDTH

OPTIONS = Path(__file__).parents[2] / 'options'
CLEAN, RAIN = 'clean', 'rain'


def write(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


@pytest.fixture(scope='module')
def photos():
    """Pairs of clean and streaky photographs, some of them larger than the others."""
    pairs = []
    for number, image in enumerate((data.astronaut(), data.coffee(), data.chelsea(), data.rocket())):
        clean = image[40 : 136 + 40 * number, 60 : 220 + 40 * number]
        wet = clean.copy()
        wet[:, :: 7 + number] = np.minimum(wet[:, :: 7 + number].astype(int) + 90, 255)
        pairs.append((clean, wet))
    return pairs


@pytest.fixture
def project(tmp_path, photos, tiny_run):
    """A folder with images, another one to work in, and options that a test may change before it writes them."""
    images, folder = tmp_path / 'images', tmp_path / 'work'
    folder.mkdir()
    for number, (clean, wet) in enumerate(photos):
        write(images / CLEAN / f'{number}.png', clean)
        write(images / RAIN / f'{number}.png', wet)
    clean, rain = images / CLEAN, images / RAIN
    options = tiny_run(clean, rain)
    train = options['datasets']['train']
    train.update(gt_size=64, stages=[{'iters': 2, 'gt_size': 32}, {'iters': 2}])
    held_out = {'derain': {'dataroot_gt': str(clean), 'dataroot_lq': str(rain)}}
    options['datasets']['val'] = {'name': 'held_out', 'type': 'MixedDegradationDataset', 'tasks': held_out}
    options['manual_seed'] = 3
    options['train'].update(total_iter=4, ema_decay=0.9)
    options['logger']['save_checkpoint_freq'] = 2
    return SimpleNamespace(images=images, folder=folder, options=options, train=train)


@pytest.fixture
def check(project, monkeypatch, capsys):
    """Runs the command in this process, in the project's folder; returns exit status and table by part."""
    monkeypatch.chdir(project.folder)

    def run(*more):
        file = project.images.parent / 'options.yml'
        file.write_text(yaml.safe_dump(project.options))
        status = main(['check', str(file), *more])
        out = capsys.readouterr().out
        return SimpleNamespace(status=status, out=out, rows=table(out))

    return run


def table(out):
    """Part to (verdict, the rest of its line); a part with two rows has the last one."""
    verdicts = ('not checked', 'ok', 'warning', 'error')
    rows = {}
    for line in out.splitlines():
        part, _, rest = line.partition('  ')
        verdict = next((word for word in verdicts if rest.strip().startswith(word)), None)
        if verdict and part and not line.startswith(' '):
            rows[part] = verdict, rest.strip().removeprefix(verdict).strip()
    return rows


def process(folder, *arguments):
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-m', 'dinoir_plugin', *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


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


def test_every_bad_image_is_named(project):
    clean, rain = project.images / CLEAN, project.images / RAIN
    for number, (side, other) in enumerate(((clean, rain), (rain, clean), (clean, rain), (rain, clean), (clean, rain))):
        for folder in (side, other):
            write(folder / f'bad{number}.png', data.coffee()[:100, :100])
    write(clean / 'whole.jpg', data.coffee()[:100, :100])
    write(rain / 'whole.jpg', data.coffee()[20:120, :100])
    os.truncate(clean / 'bad0.png', 5000)
    os.truncate(rain / 'bad1.png', 0)
    (clean / 'bad2.png').write_text('these are words')
    write(rain / 'bad3.png', data.coffee()[:90, :100])
    write(clean / 'bad4.png', data.coffee()[:40, :40])
    write(rain / 'bad4.png', data.coffee()[:40, :40])
    os.truncate(clean / 'whole.jpg', (clean / 'whole.jpg').stat().st_size // 2)
    (project.folder / 'o.yml').write_text(yaml.safe_dump(project.options))
    done = process(project.folder, 'check', 'o.yml', '--full')
    assert done.returncode == BAD, done.stdout + done.stderr
    listed = done.stdout.partition('Images that cannot be used (6):\n')[2].partition('\n\n')[0]
    bad = [clean / 'bad0.png', rain / 'bad1.png', clean / 'bad2.png', rain / 'bad3.png', clean / 'bad4.png']
    for path in (*bad, clean / 'whole.jpg'):
        assert len([line for line in listed.splitlines() if line.startswith(f'  {path}')]) == 1, listed
    assert 'bad3.png is 100x90' in listed
    assert 'datasets.train.tasks.derain: 6 of 10 images cannot be used: ' in done.stdout
    assert 'datasets.train.tasks.denoise: 4 of 10 images cannot be used: ' in done.stdout
    assert table(done.stdout)['train.dpc_opt'][0] == 'ok'


def test_a_headers_look_leaves_whole_decoding_to_full(project, check):
    os.truncate(project.images / RAIN / '2.png', 5000)
    # the samples of a validation set are the first, the middle and the last image: here 0, 1 and 3
    assert check().rows['datasets.val.tasks.derain'][0] == 'ok'
    result = check('--full')
    assert result.rows['datasets.val.tasks.derain'][0] == 'error'
    assert 'datasets.val.tasks.derain: 1 of 4 images cannot be used: ' in result.out


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


def test_the_sheet_shows_each_task_degraded_and_target(project, check):
    result = check('--out', 'sub/folder')
    assert result.status == GOOD, result.out
    path = project.folder / 'sub' / 'folder' / 'check_tiny.png'
    assert 'sub/folder/check_tiny.png' in result.out
    assert os.listdir(project.folder) == ['sub']
    sheet = cv2.imread(str(path))
    assert sheet.shape == (LABEL_HEIGHT + 3 * ROW_HEIGHT, WIDTH, 3)
    for row, (height, width) in enumerate(((160, 160), (160, 160), (96, 160))):
        top = 2 * LABEL_HEIGHT + row * ROW_HEIGHT
        label = sheet[top - LABEL_HEIGHT : top, :CELL]
        assert label.min() < 100
        degraded, target = (sheet[top : top + height, left : left + width] for left in (0, CELL + contact_sheet.GAP))
        assert not np.array_equal(degraded, target)
        # they show the same thing, and not nothing
        assert np.corrcoef(degraded.ravel(), target.ravel())[0, 1] > 0.5
        assert target.std() > 5
    # a whole image of validation, larger than a cell, is made smaller
    assert (sheet[top : top + CELL, -CELL:] != 255).any(axis=(0, 2)).all()


def test_pairs_that_are_the_same_are_worth_a_warning(project, check):
    project.train['tasks']['derain']['dataroot_lq'] = project.train['tasks']['derain']['dataroot_gt']
    result = check()
    assert result.status == GOOD
    assert result.rows['datasets.train.tasks.derain'][0] == 'warning'
    assert 'degraded and target are equal in 3 samples' in result.out


def test_patches_that_the_encoder_takes_in_another_size_are_worth_a_warning(project, check):
    row = 'datasets.train.gt_size'
    assert check().rows[row] == ('ok', 'patches of 32 px, which the encoder takes as 28 px; '
                                      'patches of 64 px, which the encoder takes as 70 px')
    encoder = project.options['network_g']['encoder']
    encoder.update(name='test_efficientnet', layers={'shallow': 1, 'medium': 2, 'deep': 4})
    encoder.pop('model_args', None)
    project.options['train'].pop('dpc_opt')
    assert check().rows[row] == ('ok', 'patches of 32 px; patches of 64 px')
    project.train['stages'][0]['gt_size'] = 48
    result = check()
    assert result.rows[row][0] == 'warning' and result.status == GOOD
    assert 'the encoder takes patches of 48 px as 64 px' in result.out and '. 64 suits it better\n' in result.out


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


def test_faults_of_a_data_set_stand_in_its_row(project, check):
    del project.train['gt_size']
    del project.train['stages']
    result = check()
    assert result.status == BAD
    assert result.out.count('datasets.train.gt_size: training needs') == 1
    assert result.rows['datasets.train'][0] == 'error'
    assert result.rows['datasets.train.tasks.denoise'][0] == 'not checked'


def test_checkpoints_and_options_for_testing(project, check, checkpoint):
    torch.save({'params': {'x': torch.ones(1)}}, project.images / 'other.pth')
    project.options['datasets'] = {'test': project.options['datasets']['val']}
    del project.options['train'], project.options['logger'], project.options['val']['val_freq']
    project.options['path'] = {'pretrain_network_g': str(project.images / 'other.pth')}
    result = check()
    assert result.status == BAD
    assert result.rows['schema'] == ('ok', 'keys and kinds of values, for testing')
    assert result.rows['path.pretrain_network_g'][0] == 'error'
    assert "other.pth' fits network_g: it lacks " in result.out
    assert 'disk space' not in result.rows
    project.options['path'] = {}
    assert check().status == GOOD
    project.options['network_g'] = 'from_checkpoint'
    result = check()
    assert result.status == BAD and 'network_g: from_checkpoint takes the network from' in result.out
    project.options['path'] = {'pretrain_network_g': str(checkpoint)}
    result = check('--force_yml', 'network_g:encoder:weights=nowhere.pth')
    assert result.status == BAD and result.rows['network_g'][0] == 'error' and 'nowhere.pth' in result.out
    result = check()
    assert result.status == GOOD, result.out
    assert result.rows['network_g: from_checkpoint'] == ('ok', str(checkpoint))
    assert result.rows['network_g'][1].startswith('DINOIRArch, ')


def test_lmdb_with_missing_entries(project, check):
    root = project.images
    for name in (CLEAN, RAIN):
        files = sorted(os.listdir(root / name))
        keys = [file[:-4] for file in files]
        make_lmdb_from_imgs(str(root / name), str(root / f'{name}.lmdb'), files, keys, map_size=1 << 26)
    del project.train['tasks']['denoise'], project.options['datasets']['val']
    project.train['tasks']['derain'] = {
        'dataroot_gt': str(root / 'clean.lmdb'), 'dataroot_lq': str(root / 'rain.lmdb')
    }  # fmt: skip
    result = check('--full')
    assert result.rows['datasets.train.tasks.derain'] == (
        'ok', '4 pairs, 160x96 to 280x216, 8 bit, LMDB, all decoded'
    )  # fmt: skip
    for name in (CLEAN, RAIN):
        with (root / f'{name}.lmdb' / 'meta_info.txt').open('a') as file:
            file.write('gone.png (96,160,3) 1\nlost.png (96,160,3) 1\n')
    result = check('--full')
    assert result.status == BAD
    for name in (CLEAN, RAIN):
        for key in ('gone', 'lost'):
            assert f"{root / name}.lmdb: meta_info.txt lists '{key}', but the LMDB does not hold it" in result.out
    assert LmdbSource(str(root / 'clean.lmdb'), '').find('gone') is not None


def test_disk_space_from_the_built_network(project, network_options, tmp_path, monkeypatch, check):
    network = DINOIRArch(**network_options)
    size = sum(parameter.numel() * 4 for parameter in network.parameters() if parameter.requires_grad)
    sgd = {'total_iter': 100, 'optim_g': {'type': 'SGD', 'lr': 0.1}}
    saves = {'save_checkpoint_freq': 30}
    assert disk.estimate(sgd, saves, network) == (3, size, size)
    assert disk.estimate(sgd, {**saves, 'keep_last': 2}, network).checkpoints == 2
    adam = {'total_iter': 100, 'ema_decay': 0.9, 'optim_g': {'type': 'AdamW', 'lr': 0.1}}
    assert disk.estimate(adam, saves, network).total == pytest.approx(3 * 4 * size + 2 * size, rel=1e-2)
    # as large as what BasicSR writes
    torch.save({'params': network.state_dict(), 'params_ema': network.state_dict()}, tmp_path / 'x.pth')
    assert (tmp_path / 'x.pth').stat().st_size == pytest.approx(disk.estimate(adam, saves, network).latest / 2, rel=0.2)
    monkeypatch.setattr(disk.shutil, 'disk_usage', lambda path: SimpleNamespace(free=1000))
    project.options['path']['experiments_root'] = str(tmp_path / 'not' / 'there')
    result = check()
    assert result.status == GOOD
    assert result.rows['disk space'] == ('warning', result.rows['disk space'][1])
    assert f'but {tmp_path} has 0.0 MB free' in result.out


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
