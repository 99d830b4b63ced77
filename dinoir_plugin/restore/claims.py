"""Several processes on one folder: each says which image it is at, so that the others take the next."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

try:
    import fcntl
except ImportError:  # Windows
    _fcntl: ModuleType | None = None
else:
    _fcntl = fcntl

NAME = '.dinoir_restore.lock'
PRESENT = 0  # the byte that every process holds a part of while it works; the bytes behind it stand for images


class Claims:
    """Hold the claims of this process on images of a folder.

    A claim is a lock on one byte of a file in the folder, so the system takes it back when a process ends, however it
    ends. The last process removes the file. Where the system has no such locks, everything can be claimed.

    Args:
        folder: Where results go; it is made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._file: int | None = None

    def __enter__(self) -> Claims:
        """Take part."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while _fcntl is not None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _fcntl.lockf(file, _fcntl.LOCK_SH, 1, PRESENT)
                if os.path.samestat(os.fstat(file), os.stat(self._path)):
                    self._file = file
                    break
            except FileNotFoundError:
                pass  # the last of the others has just removed it
            except OSError:  # a file system without locks
                os.close(file)
                break
            os.close(file)
        return self

    def __exit__(self, *error: object) -> None:
        """Give all claims back."""
        if self._file is None or _fcntl is None:
            return
        with contextlib.suppress(OSError):  # another process is there still
            _fcntl.lockf(self._file, _fcntl.LOCK_EX | _fcntl.LOCK_NB, 1, PRESENT)
            self._path.unlink()
        os.close(self._file)
        self._file = None

    @contextlib.contextmanager
    def on(self, target: Path, wait: bool) -> Iterator[bool]:
        """Claim the image that becomes ``target``.

        Args:
            target: Below the folder.
            wait: Whether to wait until another process gives it back; else whether it was to be had is given.
        """
        if self._file is None or _fcntl is None:
            yield True
            return
        name = os.fsencode(os.path.relpath(target, self._folder))
        place = 1 + (int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), 'big') >> 2)
        try:
            _fcntl.lockf(self._file, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB), 1, place)
        except (BlockingIOError, PermissionError):  # systems call it by either name
            yield False
            return
        try:
            yield True
        finally:
            _fcntl.lockf(self._file, _fcntl.LOCK_UN, 1, place)
