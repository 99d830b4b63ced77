"""Checkpoints are whole or not there, and --auto_resume takes none that is not."""

import json
import shutil

import pytest
import torch

from dinoir_plugin.core.atomic_files import FileError, load_verified, save_atomic, write_atomic
from dinoir_plugin.testing.trials import (
    cut_checkpoints,
    damaged_lmdbs,
    end_of,
    first_difference,
    full_disk,
    last_line,
    prepare,
)


def test_a_file_cut_anywhere_or_changed_anywhere_is_refused(tmp_path):
    path = tmp_path / 'x.pth'
    save_atomic(path, {'params': {'weight': torch.rand(50, 50)}, 'iter': 3})
    assert load_verified(path)['iter'] == 3
    data = path.read_bytes()
    for part in range(16):
        path.write_bytes(data[: len(data) * part // 16])
        with pytest.raises(FileError, match=r'x\.pth'):
            load_verified(path)
    for place in range(0, len(data), len(data) // 64):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            # what no checksum covers (times, padding) may change, the content may not
            content = load_verified(path)
        except FileError as error:
            assert 'x.pth' in str(error)
        else:
            path.write_bytes(data)
            assert first_difference(content, load_verified(path)) is None


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'x.pth'
    write_atomic(path, b'old')
    (tmp_path / '.x.pth.part').mkdir()  # what is to be written cannot be
    with pytest.raises(FileError, match=r'x\.pth: cannot be written'):
        write_atomic(path, b'new')
    assert path.read_bytes() == b'old'


def test_the_newest_whole_pair_is_taken(make_project, tmp_path):
    project = prepare(make_project(), iterations=4, save_every=1)
    project.run()
    reference = end_of(project)
    run = project.models.parent
    shutil.copytree(run, tmp_path / 'kept')
    (project.models / '.net_g_9.pth.part').write_bytes(b'begun')
    for path in (project.models / 'net_g_4.pth', project.states / '3.state'):
        path.write_bytes(path.read_bytes()[:-100])
    (project.models / 'net_g_2.pth').unlink()
    log = project.run('--auto_resume').log
    for iteration, word in ((4, 'net_g_4.pth is not'), (3, '3.state is not'), (2, 'net_g_2.pth is missing')):
        assert f'passes over iteration {iteration}: ' in log
        assert word in log
    assert 'iter: 1.' in log
    assert first_difference(reference, end_of(project)) is None
    assert not list(run.rglob('.*.part'))


def test_no_whole_checkpoint_is_no_silent_fresh_start(make_project):
    project = prepare(make_project(), iterations=1, save_every=1)
    project.run()
    (project.states / '1.state').write_bytes(b'')
    done = project.run('--auto_resume', ok=False)
    assert done.returncode == 1
    assert last_line(done.log).startswith('--auto_resume found no whole checkpoint in')


def test_a_checkpoint_cut_anywhere_is_passed_over(make_project):
    project = prepare(make_project(), iterations=2, save_every=1)
    project.run()
    for outcome in cut_checkpoints(project):
        assert outcome.survived, outcome.said


def test_a_full_disk_stops_the_run_with_the_last_checkpoint_whole(make_project):
    project = prepare(make_project(), iterations=2, save_every=2)
    project.run()
    outcome = full_disk(project, (project.models / 'net_g_2.pth').stat().st_size - 1)
    assert outcome.survived, outcome.said
    assert 'net_g_4.pth: cannot be written' in outcome.said


def test_damaged_pages_of_an_lmdb_are_named(images, tmp_path):
    for outcome in damaged_lmdbs(images, tmp_path, count=2, seed=1):
        assert outcome.survived, outcome.said


def test_the_last_and_the_best_are_kept(make_project):
    project = prepare(make_project(), iterations=6, save_every=1)
    project.options['logger']['keep_last'] = 2
    project.add_validation(val_freq=1, save_img=False)
    # nothing is learned: the first is the worst or the best, and stays that
    project.train['optim_g']['lr'] = 0.5
    project.run()
    (entry,) = json.loads((project.models / 'best.json').read_text())['check'].values()
    best = entry['iter']
    assert best < 5  # or nothing would be kept for being the best
    names = {path.name for path in project.models.glob('net_g_?.pth')}
    assert names == {f'net_g_{iteration}.pth' for iteration in {best, 5, 6}}
    assert {path.name for path in project.states.iterdir()} == {'5.state', '6.state'}


def test_the_best_is_an_iteration_of_the_run_and_known_when_it_goes_on(make_project):
    project = prepare(make_project(), iterations=4, save_every=2)
    project.add_validation(val_freq=2, save_img=False)
    project.train['optim_g']['lr'] = 0.0  # all iterations are as good
    project.run()

    def best():
        return json.loads((project.models / 'best.json').read_text())['check']

    assert best()['psnr']['iter'] == 4
    known = best()
    known['psnr'].update(iter=2, val=90.0)
    (project.models / 'best.json').write_text(json.dumps({'check': known, 'gone': {'x': {'iter': 99}}}))
    project.train['total_iter'] = 6
    project.options['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 0}
    project.run('--auto_resume')
    assert best()['psnr'] == {'better': 'higher', 'val': 90.0, 'iter': 2} and best()['ssim']['iter'] == 6
    # what comes after the iteration that a run goes on from does not count
    known['psnr'].update(iter=5)
    (project.models / 'best.json').write_text(json.dumps({'check': known}))
    (project.states / '6.state').unlink()
    project.run('--auto_resume')
    assert best()['psnr']['iter'] == 6 and best()['psnr']['val'] < 90
