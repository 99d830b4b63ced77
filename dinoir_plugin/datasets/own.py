"""People's own images, made into roots as the literature's are: pairs in two folders, or photographs in one.

Which images belong together is decided as in training: a folder is read without the folders in it, and pairs are found
by a task's rules. Worker processes do not import this module, which needs BasicSR.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.sources import Source, open_source
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.description import DataSet, Split
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.planning import File, FilePart, Scene, SplitPlan, checked_key, digest_of
from dinoir_plugin.datasets.prepare import Prepared, Request, fill, summary
from dinoir_plugin.datasets.store import read_record

logger = logging.getLogger(__name__)

PAIRS, PHOTOS = 'pairs', 'photos'
OTHER_WAYS = 'Images pair up by name; --pairing reside and --filename-tmpl are other ways'
# of photographs, until somebody chooses
DEGRADATION = 'gaussian_noise'


@dataclass(frozen=True)
class Own:
    """Say what a person has, beside its folders.

    Attributes:
        kind: ``pairs`` or ``photos``.
        pairing: How pairs are found, as a task's ``pairing``.
        template: Name of the degraded image, as a task's ``filename_tmpl``.
        val: How many clean images, each with all that belong to it, are kept out for validation.
        seed: Which ones.
    """

    kind: str
    pairing: Literal['name', 'reside'] = 'name'
    template: str | None = None
    val: int = 0
    seed: int = 0

    @property
    def dataset(self) -> DataSet:
        """Describe it as a data set, whose validation images stay whole."""
        splits = [Split('train', 'train', ())]
        if self.val:
            splits.append(Split('val', 'val', (), whole=True))
        roles = ('degraded', 'clean') if self.kind == PAIRS else ('clean',)
        return DataSet(self.kind, 'own images', '', '', roles, tuple(splits), many_to_one=self.pairing == 'reside')


def prepare_own(own: Own, request: Request) -> list[Prepared]:
    """Make roots of own images, or go on with what an interrupted run left.

    Args:
        own: What they are.
        request: Its ``sources`` are the folders of degraded and clean images, or that of photographs.

    Raises:
        PreparationError: Something has to be mended first; nothing was marked as finished.
    """
    dataset = own.dataset
    try:
        scenes = _pairs(own, request.sources) if own.kind == PAIRS else _photos(request.sources[0])
    except OptionsError as error:
        # its path is that of an options file
        raise PreparationError('. '.join(filter(None, (error.problem, error.remedy)))) from error
    for folder in request.sources:
        _mind_folders(folder)
    identities = [_identity(folder, role, scenes) for role, folder in enumerate(request.sources)]
    _check_unchanged(dataset, request.out, identities)
    plans = [
        SplitPlan(split, part, _digest(part, request.sources))
        for split, part in zip(dataset.splits, _kept_out(scenes, own))
    ]
    fill(dataset, plans, request, identities)
    return summary(dataset, request.out)


def blocks(own: Own, out: Path) -> dict[str, Any]:
    """Give the part of an options file that trains on the roots below ``out``; the task is called as that folder."""
    name = out.resolve().name
    dataset = own.dataset
    found: dict[str, Any] = {}
    for split in dataset.splits:
        roots = [(out / dataset.root(split, role)).as_posix() for role in reversed(dataset.roles)]
        task: dict[str, Any] = dict(zip(('dataroot_gt', 'dataroot_lq'), roots))
        if own.kind == PHOTOS:
            task['degradation'] = {'type': DEGRADATION, 'sigma': [15, 50]}
        if dataset.many_to_one:
            task['pairing'] = own.pairing
        named = {} if split.name == 'train' else {'name': f'{name}_{split.name}'}
        found[split.name] = {**named, 'type': 'MixedDegradationDataset', 'tasks': {name: task}}
    return {'datasets': found}


def _pairs(own: Own, folders: Sequence[Path]) -> list[Scene]:
    options = TaskOptions(
        dataroot_gt=_folder(folders[1]), dataroot_lq=_folder(folders[0]), pairing=own.pairing,
        filename_tmpl=own.template,
    )  # fmt: skip
    try:
        task = Task(PAIRS, options)
    except OptionsError as error:
        if 'have no partner' in error.problem:
            raise OptionsError(error.path, error.problem, OTHER_WAYS) from error
        raise
    groups: dict[int, list[FilePart]] = defaultdict(list)
    for pair in task.pairs:
        if task.lq is not None and pair.lq is not None:
            # as in the catalogue: a pair shares the clean image's key; of many to one, each keeps its own
            key = task.lq.keys[pair.lq] if own.pairing == 'reside' else task.gt.keys[pair.gt]
            groups[pair.gt].append(_part(0, key, task.lq, pair.lq))
    return [Scene((*parts, _part(1, task.gt.keys[gt], task.gt, gt))) for gt, parts in sorted(groups.items())]


def _photos(folder: Path) -> list[Scene]:
    source = open_source(_folder(folder), PHOTOS)
    return [Scene((_part(0, key, source, number),)) for number, key in enumerate(source.keys)]


def _folder(folder: Path) -> str:
    if folder.suffix == '.lmdb':
        raise PreparationError(f'{folder} is an LMDB: an options file takes it as it is')
    return str(folder)


def _part(role: int, key: str, source: Source, number: int) -> FilePart:
    file = File(source.path(number), source.path(number))
    return FilePart(role, checked_key(key, file), file)


def _mind_folders(folder: Path) -> None:
    with os.scandir(folder) as entries:
        others = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith('.'))
    if others:
        logger.warning('%s: images in the folders in it (%s) are not taken, nor are they in training', folder,
                       ', '.join(others[:3]) + (', ...' if len(others) > 3 else ''))


def _identity(folder: Path, role: int, scenes: Sequence[Scene]) -> str:
    """Tell a folder's images from others, and from these as they were before a change."""
    listed = []
    for part in (part for scene in scenes for part in scene.parts if part.role == role):
        # a link that leads nowhere is named with the images that cannot be read
        status = os.stat(part.file.path) if os.path.exists(part.file.path) else None
        listed.append(f'{part.key} {status and (status.st_size, status.st_mtime_ns)}')
    return f'{folder.resolve()} {hashlib.sha256(chr(10).join(sorted(listed)).encode()).hexdigest()}'


def _digest(scenes: Sequence[Scene], folders: Sequence[Path]) -> str:
    """Compute the digest of all keys and of where they come from: names of own images are often mere numbers."""
    places = [digest_of(scenes), *(str(folder.resolve()) for folder in folders)]
    return hashlib.sha256('\n'.join(places).encode()).hexdigest()


def _check_unchanged(dataset: DataSet, out: Path, identities: list[str]) -> None:
    for split in dataset.splits:
        for role in dataset.roles:
            root = out / dataset.root(split, role)
            entry = (read_record(root) or {'sets': {}})['sets'].get(dataset.name)
            if entry is not None and entry['finished'] and entry['sources'] != identities:
                raise PreparationError(f'{root} was made from other images, or from these before they were changed. '
                                       'Delete it, or choose another --out')


def _kept_out(scenes: list[Scene], own: Own) -> list[list[Scene]]:
    """Share the scenes out to training and validation; the latter by NumPy's ``default_rng(seed).choice``."""
    if own.val >= len(scenes):
        raise PreparationError(f'--val {own.val}: expected fewer than there are clean images, {len(scenes)}')
    numbers = set(np.random.default_rng(own.seed).choice(len(scenes), own.val, replace=False).tolist())
    parts = [[scene for number, scene in enumerate(scenes) if (number in numbers) == kept] for kept in (False, True)]
    return parts if own.val else parts[:1]
