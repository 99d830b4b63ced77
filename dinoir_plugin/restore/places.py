"""Whether results can be written where they are to go, found before the work."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.restore.files import Job, Problem, folders_of

LONGEST_NAME = 255  # bytes, where the system does not say


def without_unwritable(job: Job, compare: bool, resume: bool) -> Job:
    """Give the job without the items whose results could not be written; with ``resume`` what is there is not asked.

    Raises:
        OptionsError: None of them could.
    """
    problems: list[Problem] = []
    left = set(job.items)
    for folder, items in folders_of(item for item in job.items if not (resume and item.target.exists())).items():
        cannot, longest = _try(folder)
        for item in items:
            names = [target.name for target in item.targets(compare) if len(os.fsencode(target.name)) > longest]
            if cannot or names:
                left.discard(item)
                problem = cannot or f'the name {names[0]} is longer than {longest} bytes'
                problems.append((item.source, f'{item.target} cannot be written: {problem}'))
    if problems and not left and not job.refused:
        raise OptionsError('OUT', problems[0][1], 'Nothing was restored; choose another folder')
    items = [item for item in job.items if item in left]
    return Job(items, job.folder, job.other_files, [*job.refused, *problems])


def _try(folder: Path) -> tuple[str, int]:
    """Write into a folder and leave no trace; gives what is in the way, and the longest name in bytes."""
    made: list[Path] = []
    try:
        missing = folder
        while not missing.exists():
            made.append(missing)
            missing = missing.parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b'x')
            probe.flush()
        return '', os.pathconf(folder, 'PC_NAME_MAX') if hasattr(os, 'pathconf') else LONGEST_NAME
    except OSError as error:
        return f'{error.strerror or error} ({folder})', LONGEST_NAME
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
