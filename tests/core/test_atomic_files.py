"""Files that are there as a whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

from dinoir_plugin.core.atomic_files import FileError, load_verified, save_atomic, write_atomic


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, 'fsync', lambda handle: calls.append('fsync') or sync(handle))
    monkeypatch.setattr(Path, 'replace', lambda self, target: calls.append('replace') or replace(self, target))
    write_atomic(tmp_path / 'x', b'content')
    assert calls == ['fsync', 'replace', 'fsync']
    assert [path.name for path in tmp_path.iterdir()] == ['x'] and (tmp_path / 'x').read_bytes() == b'content'


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / 'x', b'old')

    def full(handle):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(FileError, match=r'x: cannot be written \(No space left on device, 3 bytes\)'):
        write_atomic(tmp_path / 'x', b'new')
    assert [path.name for path in tmp_path.iterdir()] == ['x'] and (tmp_path / 'x').read_bytes() == b'old'


def test_a_folder_that_cannot_be_synced_costs_nothing(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, *rest, **named):
        if Path(path) == tmp_path:
            raise PermissionError
        return opened(path, *rest, **named)

    monkeypatch.setattr(os, 'open', refuse)
    write_atomic(tmp_path / 'x', b'content')
    assert (tmp_path / 'x').read_bytes() == b'content'


@pytest.mark.parametrize('length', [1, 239, 240, 255])
def test_names_as_long_as_the_system_takes_are_written(tmp_path, length):
    write_atomic(tmp_path / ('x' * length), b'content')
    assert [path.name for path in tmp_path.iterdir()] == ['x' * length]


def test_what_is_saved_comes_back_and_what_is_damaged_is_named(tmp_path):
    path = tmp_path / 'x.pth'
    save_atomic(path, {'params': {'weight': torch.arange(100.0)}, 'iter': 3})
    content = load_verified(str(path))
    assert content['iter'] == 3 and torch.equal(content['params']['weight'], torch.arange(100.0))
    data = path.read_bytes()
    place = data.index(torch.arange(100.0).numpy().tobytes())
    path.write_bytes(data[: place + 40] + b'\xff' + data[place + 41 :])
    with pytest.raises(FileError, match=r'x\.pth is damaged: its part'):
        load_verified(path)
    path.write_bytes(data[:-40])
    with pytest.raises(FileError, match=r'x\.pth is not a whole file'):
        load_verified(path)
    with pytest.raises(FileError, match='is missing'):
        load_verified(tmp_path / 'y.pth')
