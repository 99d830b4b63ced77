"""`dinoir prepare` as people run it: killed in the middle, with wrong releases, for protocols."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import pytest
import yaml

from dinoir_plugin.core.options import fields_of
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.protocols import PROTOCOLS, fragment

START_LIMIT = 60


def command(*arguments):
    return [sys.executable, '-m', 'dinoir_plugin', 'prepare', *map(str, arguments)]


def entries(root):
    """All keys and values of an LMDB, also of one that is being written."""
    try:
        environment = lmdb.open(str(root), readonly=True, lock=False)
    except lmdb.Error:
        return {}
    with environment, environment.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def count(root):
    return len(entries(root))


def alive(pid):
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def children(pid):
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return [int(word) for word in text.split()]


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='looks for worker processes in /proc')
def test_killed_in_the_middle_it_goes_on_and_gives_the_same(photograph, write, zip_release, tmp_path):
    for number in range(60):
        write(f'our485/high/{number}.png', photograph(number, 180, 240))
        write(f'our485/low/{number}.png', photograph(number, 180, 240) // 4)
    arguments = ['lol', zip_release('lol.zip'), '--partial', '--sub-images', 40, 20, '--workers', 2]
    subprocess.run(command(*arguments, '--out', tmp_path / 'whole'), check=True, capture_output=True)
    killed = tmp_path / 'killed'
    root = killed / 'lol/train/high.lmdb'
    process = subprocess.Popen(command(*arguments, '--out', killed), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START_LIMIT
    while not (root / 'data.mdb').is_file() or not count(root):
        assert process.poll() is None and time.monotonic() < deadline, 'it ended before it could be killed'
        time.sleep(0.01)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    committed = count(root)
    expected = entries(tmp_path / 'whole/lol/train/high.lmdb')
    assert 0 < committed < len(expected)
    assert not (root / 'meta_info.txt').exists()
    deadline = time.monotonic() + START_LIMIT
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, 'workers live on without their parent'
        time.sleep(0.05)
    resumed = subprocess.run(command(*arguments, '--out', killed), check=True, capture_output=True, text=True)
    # The bar begins where the killed run's last commit was.
    first = resumed.stderr.split('| ')[1].split('/')[0].strip()
    assert int(first) > 0
    for role in ('high', 'low'):
        ours, theirs = (tmp_path / name / f'lol/train/{role}.lmdb' for name in ('killed', 'whole'))
        assert entries(ours) == entries(theirs)
        assert (ours / 'meta_info.txt').read_text() == (theirs / 'meta_info.txt').read_text()
    assert not (killed / '.extracted').exists()
    assert [line.split()[:5] for line in resumed.stdout.splitlines()[1:]] == [
        ['lol', 'train', 'low', '60', str(len(expected))], ['lol', 'train', 'high', '60', str(len(expected))],
    ]  # fmt: skip


def test_what_is_wrong_ends_with_status_1_and_one_message(photograph, write, tmp_path):
    write('our485/high/1.png', photograph(0))
    write('our485/low/1.png', photograph(0)).write_bytes(b'')
    arguments = command('lol', tmp_path / 'release', '--out', tmp_path / 'out')
    short = subprocess.run(arguments, capture_output=True, text=True)
    assert short.returncode == 1
    assert 'dinoir: lol: train low: expected 485 images, found 1; train high: ' in short.stderr
    broken = subprocess.run([*arguments, '--partial', '--workers', '1'], capture_output=True, text=True)
    assert broken.returncode == 1
    assert 'release/our485/low/1.png: ' in broken.stderr
    assert 'Traceback' not in short.stderr + broken.stderr


def test_the_old_script_says_the_same():
    script = Path(__file__).resolve().parents[2] / 'scripts' / 'prepare_data.py'
    done = [subprocess.run([*start, 'protocol', 'aio3'], capture_output=True, text=True, check=True).stdout
            for start in ([sys.executable, script], command())]
    assert done[0] == done[1] == fragment(PROTOCOLS['aio3'], Path('datasets'))


@pytest.mark.parametrize(
    'arguments', [['--workers', 0], ['--choose', 0], ['--sub-images', 10, 20], ['--sub-images', 0, 0]]
)
def test_impossible_options_are_refused(arguments, tmp_path):
    done = subprocess.run(command('lol', tmp_path, *arguments), capture_output=True, text=True)
    assert done.returncode == 2
    assert 'expected' in done.stderr


def test_an_unknown_protocol_is_refused():
    done = subprocess.run(command('protocol', 'aio4'), capture_output=True, text=True)
    assert done.returncode == 2
    assert "'aio4' is none of paper_all4, aio3, aio5" in done.stderr


@pytest.mark.parametrize('name', PROTOCOLS)
def test_protocols_are_ready_to_paste(name, tmp_path):
    text = fragment(PROTOCOLS[name], tmp_path)
    train = yaml.safe_load(text)['datasets']['train']
    roots = {str(tmp_path / PROTOCOLS[name].root(dataset.name, role))
             for dataset in CATALOGUE.values() for role in dataset.roles}
    for block in train['tasks'].values():
        assert set(block) <= set(fields_of(TaskOptions))
        assert {value for key, value in block.items() if key.startswith('dataroot')} <= roots
    assert ('sampling' in train) == all('repeat' in block for block in train['tasks'].values())
    assert '# missing: ' in text


def test_the_papers_protocol_takes_a_named_choice(tmp_path):
    text = fragment(PROTOCOLS['paper_all4'], Path('datasets'))
    tasks = yaml.safe_load(text)['datasets']['train']['tasks']
    assert tasks == yaml.safe_load(options_file('train_dinoir_all4').read_text())['datasets']['train']['tasks']
    assert 'ots in datasets/reside/ots_4000_seed0/hazy.lmdb (dinoir prepare ots SOURCE --choose 4000)' in text


def test_aio3_repeats_as_the_literature(tmp_path):
    tasks = yaml.safe_load(fragment(PROTOCOLS['aio3'], tmp_path))['datasets']['train']['tasks']
    assert {task: block['repeat'] for task, block in tasks.items()} == {
        'denoise15': 3, 'denoise25': 3, 'denoise50': 3, 'derain': 120, 'dehaze': 1,
    }  # fmt: skip
    assert tasks['denoise50']['degradation'] == {'type': 'gaussian_noise', 'sigma': 50, 'quantise': 'truncate'}


def test_finished_roots_are_not_missing(photograph, write, tmp_path):
    pairs = ('RainTrainL/rain-1.png', 'RainTrainL/norain-1.png', 'Rain100L/rain-001.png', 'Rain100L/norain-001.png')
    for number, image in enumerate(pairs):
        write(image, photograph(number))
    out = tmp_path / 'out'
    subprocess.run(command('rain100l', tmp_path / 'release', '--partial', '--out', out, '--workers', 1), check=True,
                   capture_output=True)
    text = fragment(PROTOCOLS['aio3'], out)
    assert 'missing: rain100l' not in text
    assert f'# missing: wed in {out}/bsd400_wed.lmdb (dinoir prepare wed SOURCE)' in text
