"""Runs that have to stop say why, and leave what the next one needs."""

import os
import re
import signal

import pytest

from dinoir_plugin.core.atomic_files import load_verified
from dinoir_plugin.models.step_checks import REQUEUE
from dinoir_plugin.testing.trials import (
    LAUNCHER,
    TORCHRUN,
    first_difference,
    killed_rank,
    killed_worker,
    last_line,
    prepare,
    started,
)


@pytest.mark.parametrize(
    ('workers', 'more', 'start'),
    [(1, (), {}), (0, LAUNCHER, {'command': TORCHRUN})],
    ids=['one', 'two-ranks'],
)
def test_sigterm_saves_the_next_iteration_and_exits_to_be_requeued(make_project, tmp_path, workers, more, start):
    project = prepare(make_project(), save_every=1000, iterations=30)
    # the signal goes to all processes, workers included; a long epoch, because each begins with new workers
    project.data.update(num_worker_per_gpu=workers, dataset_enlarge_ratio=20)
    # on a line of the log only every third iteration: the sums of the line between have to come along
    project.options['logger']['print_freq'] = 3
    project.run(*more, **start)
    reference = load_verified(project.models / 'net_g_latest.pth')
    project.models.parent.rename(tmp_path / 'reference')
    process, log = started(project, *more, until=9, **start)
    os.killpg(process.pid, signal.SIGTERM)
    log += process.communicate()[0]
    assert 'Stopped by SIGTERM after iteration' in log, log
    if not start:
        assert process.returncode == REQUEUE
    (state,) = project.states.iterdir()
    assert 9 <= int(state.stem) < 30
    again = project.run(*more, '--auto_resume', **start).log
    assert f'iter: {state.stem}.' in again
    assert first_difference(reference, load_verified(project.models / 'net_g_latest.pth')) is None


@pytest.fixture
def heeded():
    """Ctrl-C as in a terminal: what a shell has started in the background ignores it, and so would a run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_too(make_project, heeded):
    project = prepare(make_project(), save_every=1000, iterations=5000)
    project.data.update(num_worker_per_gpu=1, dataset_enlarge_ratio=20)
    process, log = started(project, until=4)
    # as a terminal does: to all of its processes
    os.killpg(process.pid, signal.SIGINT)
    log += process.communicate(timeout=60)[0]
    assert 'Ctrl-C: ends this iteration and saves it; once more stops at once, without saving.' in log, log
    assert process.returncode == 130 and 'Traceback' not in log, log
    assert ': checking images, network and weights before the run' in log
    (state,) = project.states.iterdir()
    assert f'Stopped by Ctrl-C after iteration {state.stem}, which was saved; --auto_resume goes on' in last_line(log)


def test_a_killed_loader_worker_ends_the_run_with_a_message(make_project):
    project = make_project()
    project.data['num_worker_per_gpu'] = 1
    outcome = killed_worker(project)
    assert outcome.survived, outcome.said


@pytest.mark.parametrize('prefetch', [None, 'cpu'])
def test_an_unreadable_image_ends_the_run_with_its_name(make_project, tmp_path, prefetch):
    project = prepare(make_project(), iterations=5000, save_every=5000)
    project.data.update(num_worker_per_gpu=0, prefetch_mode=prefetch)
    clean = tmp_path / 'clean'
    clean.mkdir()
    for task in ('denoise', 'deblur', 'derain'):
        source = project.data['tasks'][task]['dataroot_gt']
        project.data['tasks'][task]['dataroot_gt'] = str(clean)
    for name in os.listdir(source):
        (clean / name).write_bytes(open(os.path.join(source, name), 'rb').read())
    process, log = started(project)
    for path in list(clean.iterdir()):
        # whole at once: the run must not find a file that is being written
        cut = path.with_suffix('.cut')
        cut.write_bytes(path.read_bytes()[:500])
        cut.replace(path)
    log += process.communicate(timeout=60)[0]
    assert process.returncode == 1
    kind = r'dinoir_plugin\.imaging\.decoding\.ImageFileError'
    said = r'\S+\.png: expected an image, but it cannot be read \(\D+\)'
    assert re.match(f'{kind}: {said}', last_line(log)), log


def test_a_dead_rank_ends_the_run_within_a_minute(make_project):
    outcome = killed_rank(make_project())
    assert outcome.survived, outcome.said


def test_a_loss_that_is_not_finite_names_iteration_and_files(make_project):
    project = prepare(make_project(), iterations=30, save_every=1)
    project.train['optim_g']['lr'] = 1.0e30
    project.train['grad_clip_norm'] = 0
    done = project.run(ok=False)
    assert done.returncode == 1
    said = next(line for line in done.log.splitlines() if 'TrainingError: iteration' in line)
    for part in ('is nan', 'denoise: ', '/clean/', 'deblur: ', 'The weights are as they were'):
        assert part in said, said
    before = int(re.search(r'iteration (\d+)', said)[1]) - 1
    assert (project.states / f'{before}.state').is_file()
    assert not (project.states / f'{before + 1}.state').is_file()
