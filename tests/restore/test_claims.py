"""Several processes share a folder: each image is taken once, and a killed process holds nothing back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from dinoir_plugin.restore.claims import NAME, Claims

pytest.importorskip('fcntl')

HOLD = """
import sys
from pathlib import Path
from dinoir_plugin.restore.claims import Claims

with Claims(Path(sys.argv[1])) as claims, claims.on(Path(sys.argv[1], 'a.png'), wait=False) as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has claimed a.png, and says so."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)  # fmt: skip
    assert process.stdout.readline() == 'True\n'
    yield process
    process.kill()
    process.communicate()


def claimed(claims, folder, name, wait=False):
    with claims.on(folder / name, wait) as mine:
        return mine


def test_report_49_what_another_process_is_at_is_not_taken(tmp_path, holder):
    with Claims(tmp_path) as claims:
        assert not claimed(claims, tmp_path, 'a.png')
        assert claimed(claims, tmp_path, 'b.png') and claimed(claims, tmp_path, 'sub/a.png')
        holder.stdin.write('\n')
        holder.stdin.flush()
        assert claimed(claims, tmp_path, 'a.png', wait=True)
        # gone before this process leaves, which then is the last one
        holder.wait()
        assert (tmp_path / NAME).exists()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM])
def test_report_49_a_killed_process_holds_nothing_back(tmp_path, holder, how):
    with Claims(tmp_path) as claims:
        holder.send_signal(how)
        assert claimed(claims, tmp_path, 'a.png', wait=True)
    holder.wait()
    with Claims(tmp_path) as claims:
        assert claimed(claims, tmp_path, 'a.png')
    assert not os.listdir(tmp_path)


def test_the_last_one_removes_the_file(tmp_path, holder):
    with Claims(tmp_path / 'new') as claims:
        assert claimed(claims, tmp_path / 'new', 'a.png')
    assert not os.listdir(tmp_path / 'new')
    with Claims(tmp_path):
        pass
    assert NAME in os.listdir(tmp_path)
    holder.communicate('\n')
    assert NAME not in os.listdir(tmp_path)


def test_report_49_every_image_is_taken_once(tmp_path):
    """Four processes at once: the work of each is a line in a file of its own."""
    code = HOLD.split('with Claims')[0] + (
        'import os, time\n'
        'folder = Path(sys.argv[1])\n'
        'with Claims(folder) as claims:\n'
        '    for number in range(40):\n'
        "        target = folder / f'{number}.png'\n"
        '        with claims.on(target, wait=False) as mine:\n'
        '            if mine and not target.exists():\n'
        '                time.sleep(0.005)\n'
        '                target.touch()\n'
        '                print(number)\n'
    )
    processes = [subprocess.Popen([sys.executable, '-c', code, tmp_path], stdout=subprocess.PIPE, text=True)
                 for _ in range(4)]  # fmt: skip
    done = [line for process in processes for line in process.communicate()[0].split()]
    assert sorted(map(int, done)) == list(range(40))
    assert not (tmp_path / NAME).exists()


def test_where_there_are_no_locks_all_is_to_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr('dinoir_plugin.restore.claims._fcntl', None)
    with Claims(tmp_path) as claims:
        assert claimed(claims, tmp_path, 'a.png', wait=True)
    assert not os.listdir(tmp_path)
