"""Archives of a release, extracted into a temporary folder that a later run finds again."""

from __future__ import annotations

import logging
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.datasets.errors import PreparationError

logger = logging.getLogger(__name__)

ARCHIVE_SUFFIXES = ('.zip', '.tar', '.tar.gz', '.tgz')
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)
_COMPLETE = 'complete'


def check_source(source: Path) -> None:
    """Refuse what is neither a folder nor an archive."""
    if not source.exists():
        raise PreparationError(f'no such archive or folder: {source}')
    if not source.is_dir() and not source.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise PreparationError(f'{source}: expected a folder or an archive ({" ".join(ARCHIVE_SUFFIXES)})')


def source_identity(source: Path) -> str:
    """Tell an archive from another version of it; of folders, which can change inside, give the path only."""
    if source.is_dir():
        return str(source.resolve())
    status = source.stat()
    return f'{source.name} {status.st_size} {status.st_mtime_ns}'


def opened(source: Path, workspace: Path) -> Path:
    """Give the folder that holds a source's files: the source itself, or what it was extracted to.

    Args:
        source: Folder or archive.
        workspace: Where to extract to. An extraction that was interrupted begins anew; a complete one is used again.

    Returns:
        A folder with the source's own name, less the extension: names of releases are often the archive's name only.
    """
    if source.is_dir():
        return source
    identity = source_identity(source)
    suffix = next(suffix for suffix in reversed(ARCHIVE_SUFFIXES) if source.name.lower().endswith(suffix))
    target = workspace / source.name[: -len(suffix)]
    complete = workspace / _COMPLETE
    if complete.is_file() and complete.read_text(encoding='utf-8') == identity:
        return target
    if workspace.exists():
        shutil.rmtree(workspace)
    target.mkdir(parents=True)
    logger.info('extracting %s', source)
    try:
        _extract(source, target)
    except _BROKEN as error:
        raise PreparationError(f'{source}: cannot be extracted ({error}). Fetch it again') from error
    write_atomic(complete, identity.encode())
    return target


def _extract(source: Path, target: Path) -> None:
    if source.suffix.lower() != '.zip':
        with tarfile.open(source) as archive:
            # This filter refuses members outside of the folder, links that lead out of it, and devices.
            archive.extractall(target, filter='data')
        return
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name.replace('\\', '/'))
            if path.is_absolute() or '..' in path.parts:
                raise PreparationError(f'{source}: member {name!r} would be written outside of the folder')
        archive.extractall(target)
