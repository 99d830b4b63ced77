"""Preparing one data set, from its release to finished roots."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dinoir_plugin.datasets.archives import check_source, opened, source_identity
from dinoir_plugin.datasets.choosing import choose, renamed
from dinoir_plugin.datasets.densities import SUFFIX, write_lists
from dinoir_plugin.datasets.description import DataSet, Split
from dinoir_plugin.datasets.errors import PreparationError, all_listed
from dinoir_plugin.datasets.image_files import Encoded, Task, encode_scene, first_key, start_worker
from dinoir_plugin.datasets.planning import Scene, SplitPlan, list_images, plan_splits
from dinoir_plugin.datasets.recipe import Choice, Recipe
from dinoir_plugin.datasets.store import MAP_SIZE, Store, check_recipe, read_record

logger = logging.getLogger(__name__)

COMMIT_RECORDS = 256
COMMIT_BYTES = 1 << 27


@dataclass(frozen=True)
class Request:
    """Hold what a person asks for.

    Attributes:
        sources: Archives and folders that together hold the release.
        out: The folder of all data sets.
        recipe: How images are kept.
        workers: Number of processes.
        partial: Whether a release that is not complete will do.
        map_size: Room that an LMDB begins with, in bytes.
        choice: Which images of the training split are taken; None: all.
    """

    sources: Sequence[Path]
    out: Path
    recipe: Recipe = field(default_factory=Recipe)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    partial: bool = False
    map_size: int = MAP_SIZE
    choice: Choice | None = None


class Prepared(NamedTuple):
    """Describe one finished root, for the summary; ``sub_images`` is None where images are whole, ``size`` in bytes."""

    dataset: str
    split: str
    role: str
    images: int
    sub_images: int | None
    size: int
    root: Path


def prepare(dataset: DataSet, request: Request) -> list[Prepared]:
    """Make the roots of a data set, or go on with what an interrupted run left.

    Raises:
        PreparationError: Something has to be mended first; nothing was marked as finished.
    """
    if request.choice is not None:
        dataset = renamed(dataset, request.choice)
    for source in request.sources:
        check_source(source)
    for split in dataset.splits:
        for root in _roots(dataset, split, request.out):
            check_recipe(root, _recipe(split, request))
    identities = [source_identity(source) for source in request.sources]
    # On the disk that was chosen for the data, and under version control no more than the roots are.
    workspace = request.out / '.extracted' / dataset.name
    # Folders can change without a sign, so their names are compared; opening archives only to do that takes too long.
    if all(source.is_file() for source in request.sources) and _made_from(dataset, request.out, identities):
        logger.info('%s is finished already', dataset.name)
    else:
        folders = [opened(source, workspace / str(number)) for number, source in enumerate(request.sources)]
        plans = plan_splits(dataset, list_images(folders), request.partial)
        plans = choose(dataset, plans, request.choice) if request.choice is not None else plans
        fill(dataset, plans, request, identities)
    if workspace.exists():
        shutil.rmtree(workspace)
        if not any(workspace.parent.iterdir()):
            workspace.parent.rmdir()
    for split in dataset.splits if request.recipe.sub_images is None else ():
        _list_levels(split, _roots(dataset, split, request.out))
    return summary(dataset, request.out)


def _roots(dataset: DataSet, split: Split, out: Path) -> list[Path]:
    return [out / dataset.root(split, role) for role in dataset.roles]


def _recipe(split: Split, request: Request) -> Recipe:
    return request.recipe._replace(sub_images=None) if split.whole else request.recipe


def _list_levels(split: Split, roots: Sequence[Path]) -> None:
    lists = [roots[0].parent / f'{level}{SUFFIX}' for level in split.levels]
    if roots[0].is_dir() and not all(path.is_file() for path in lists):
        logger.info('%s: measuring how dense the degradation of each image is', split.name)
        written = write_lists(roots, split.levels)
        logger.info('%s: the densest, by the distance from the clean images, are in %s', split.name,
                    ', '.join(map(str, written)))


def _made_from(dataset: DataSet, out: Path, identities: list[str]) -> bool:
    """Say whether all that there is of a data set is finished and comes from these archives."""
    records = [read_record(root) for split in dataset.splits for root in _roots(dataset, split, out)]
    entries = [record['sets'].get(dataset.name) for record in records if record is not None]
    entries = [entry for entry in entries if entry is not None]
    return bool(entries) and all(entry['finished'] and entry['sources'] == identities for entry in entries)


def fill(dataset: DataSet, plans: Sequence[SplitPlan], request: Request, identities: list[str]) -> None:
    """Encode all splits; only then, and if nothing is wrong with any image, mark them as finished.

    Args:
        dataset: What they belong to.
        plans: What there is to do.
        request: Where to, and how; its sources are not looked at.
        identities: Of the sources, kept with the roots.

    Raises:
        PreparationError: A root cannot be gone on with, or files cannot be used.
    """
    opened_stores: list[Store] = []
    problems: list[str] = []
    try:
        work = []
        for plan in plans:
            stores = []
            for root in _roots(dataset, plan.split, request.out):
                stores.append(Store(root, dataset.name, dataset.key_prefix, _recipe(plan.split, request), plan.digest,
                                    request.map_size))
                opened_stores.append(stores[-1])
            work.append((plan, stores))
        for plan, stores in work:
            if all(store.finished for store in stores):
                logger.info('%s %s is finished already', dataset.name, plan.split.name)
            else:
                problems += _encode_split(dataset, plan, stores, request)
        if problems:
            raise all_listed(f'{dataset.name}: {len(problems)} files cannot be used. Mend or fetch them again; '
                             'what is encoded already is kept, and the same command goes on', problems)
        for plan, stores in work:
            for role, store in enumerate(stores):
                if not store.finished:
                    store.finish(plan.count(role), identities)
    finally:
        for store in opened_stores:
            store.close()


def _encode_split(dataset: DataSet, plan: SplitPlan, stores: Sequence[Store], request: Request) -> list[str]:
    """Encode and commit the scenes of a split that are not committed yet; returns what is wrong with its files."""
    recipe = _recipe(plan.split, request)
    todo = _uncommitted(dataset, plan.scenes, stores, recipe)
    total = sum(len(scene.parts) for scene in plan.scenes)
    waiting: list[list[tuple[str, bytes]]] = [[] for _ in stores]
    problems: list[str] = []
    tasks = (Task(scene, recipe, dataset.many_to_one, dataset.clean_border) for scene in todo)
    done = total - sum(len(scene.parts) for scene in todo)
    with tqdm(total=total, initial=done, unit='image', desc=f'{dataset.name} {plan.split.name}') as bar:
        for task, encoded in _encode_all(tasks, min(request.workers, len(todo))):
            problems += encoded.problems
            for role, key, data in encoded.records:
                waiting[role].append((key, data))
            bar.update(len(task.scene.parts))
            held = [data for records in waiting for _, data in records]
            if len(held) >= COMMIT_RECORDS or sum(map(len, held)) >= COMMIT_BYTES:
                _commit(stores, waiting)
    _commit(stores, waiting)
    return problems


def _commit(stores: Sequence[Store], waiting: list[list[tuple[str, bytes]]]) -> None:
    for store, records in zip(stores, waiting):
        store.commit(records)
        records.clear()


def _uncommitted(dataset: DataSet, scenes: Sequence[Scene], stores: Sequence[Store], recipe: Recipe) -> list[Scene]:
    # All sub-images of an image are committed together, so the first stands for all.
    def key(name: str) -> str:
        return first_key(name, recipe, dataset.many_to_one)

    held = [store.held(key(part.key) for scene in scenes for part in scene.parts if part.role == role)
            for role, store in enumerate(stores)]
    return [scene for scene in scenes if not all(key(part.key) in held[part.role] for part in scene.parts)]


def _encode_all(tasks: Iterator[Task], workers: int) -> Iterator[tuple[Task, Encoded]]:
    """Encode on all cores, in order; only a few scenes more than workers are under way, to bound the memory.

    Raises:
        PreparationError: The system killed a worker.
    """
    if not workers:
        return
    # Not forked: a child must not inherit open LMDBs.
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
    try:
        under_way: deque[tuple[Task, Future[Encoded]]] = deque()
        for task in islice(tasks, workers + 2):
            under_way.append((task, pool.submit(encode_scene, task)))
        while under_way:
            task, future = under_way.popleft()
            yield task, future.result()
            for following in islice(tasks, 1):
                under_way.append((following, pool.submit(encode_scene, following)))
    except BrokenProcessPool as error:
        raise PreparationError('a worker process was ended from outside, most likely for want of memory. Use fewer '
                               '--workers; the same command goes on') from error
    finally:
        pool.shutdown(cancel_futures=True)


def summary(dataset: DataSet, out: Path) -> list[Prepared]:
    """Describe the finished roots of a data set."""
    finished = []
    for split in dataset.splits:
        for role, root in zip(dataset.roles, _roots(dataset, split, out)):
            record = read_record(root)
            entry = record['sets'].get(dataset.name) if record is not None else None
            if record is not None and entry is not None and entry['finished']:
                size = (root / 'data.mdb').stat().st_size
                pieces = entry['records'] if record['recipe']['sub_images'] else None
                finished.append(Prepared(dataset.name, split.name, role, entry['images'], pieces, size, root))
    return finished
