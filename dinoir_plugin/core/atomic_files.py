"""Files that are there as a whole or not at all, and how to tell whether one of ``torch.save`` is whole."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

# What checkpoints hold besides tensors and plain values: milestones of BasicSR's schedulers, optimizers' state.
ALLOWED = (Counter, OrderedDict, defaultdict, dict)
# What reading a damaged archive raises, in zipfile and in torch.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, IndexError, ValueError, OverflowError,
          NotImplementedError, RuntimeError, pickle.UnpicklingError, AttributeError, TypeError)  # fmt: skip


# How files are called while they are written; a killed process leaves one behind.
UNFINISHED = '.*.part'
LONGEST_NAME = 240  # in bytes; systems take 255, and the unfinished file has a longer one


class FileError(OSError):
    """A file that a run depends on cannot be written or read; the message names it and says what to do."""


def write_atomic(path: str | Path, data: bytes | memoryview) -> None:
    """Write a file beside its place, have it on the disk, and only then give it its name.

    Whatever happens meanwhile, ``path`` holds either what it held before or all of ``data``.

    Args:
        path: Where to.
        data: Its content.

    Raises:
        FileError: The disk is full, or the folder cannot be written.
    """
    path = Path(path)
    name = path.name if len(os.fsencode(path.name)) < LONGEST_NAME else f'{zlib.crc32(os.fsencode(path.name)):08x}'
    part = path.with_name(UNFINISHED.replace('*', name))
    try:
        with part.open('wb') as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise FileError(
            f'{path}: cannot be written ({error.strerror}, {len(data)} bytes). Nothing that was there before is lost.'
        ) from error
    with contextlib.suppress(OSError):  # a folder that may be written but not read
        _keep_name(path.parent)


def save_atomic(path: str | Path, content: Any) -> None:
    """Save as ``torch.save`` does, by way of :func:`write_atomic`."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getbuffer())


def load_verified(path: str | Path) -> Any:
    """Load what ``torch.save`` wrote, on the CPU, without running code from it, and check every checksum.

    Raises:
        FileError: It is missing, cut off, changed since it was written, or holds more than tensors and plain values.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise FileError(f'{path} is missing')
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise FileError(f'{path} is damaged: its part {damaged} is not as it was written')
        with torch.serialization.safe_globals(list(ALLOWED)):
            return torch.load(path, map_location='cpu', weights_only=True)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f'{path} cannot be read: {error.strerror}') from error
    except DAMAGE as error:
        raise FileError(f'{path} is not a whole file of tensors written by torch.save. Files with code in them are '
                        'not read') from error


def _keep_name(folder: Path) -> None:
    """Write a folder's list of names to the disk, on systems that can."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
