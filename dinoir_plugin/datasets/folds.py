"""Folds of a training set, so that networks restore images that they were not trained on.

Images of one scene never lie in different folds. Nothing of the images is written but lists of their names, which a
task takes as its ``meta_info_file``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any, Literal

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import read
from dinoir_plugin.core.written import plain
from dinoir_plugin.core.yaml_options import options_text, read_options
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.sources import Source
from dinoir_plugin.data.task import Task

TASKS = 'datasets.train.tasks'
HELD_OUT, LEFT = 'heldout', 'train'
By = Literal['scene', 'release']


@dataclass(frozen=True)
class Request:
    """Say how a training set is shared out.

    Attributes:
        folds: How many there are, from 2.
        by: ``scene`` (folds of about the same size, scenes kept together) or ``release`` (by the SHA-1 of ``task|path``
            as in Perceive-IR's code, which parts versions of one scene).
        scenes: By task a pattern, whose first group in a clean image's name without ending is its scene; without one
            the whole name, but for the number of a sub-image, as `dinoir prepare` cuts them.
        heldout: Share of the scenes that ``train`` lacks; their images are in the list ``heldout``.
        most: How many images of a task that list has, spread evenly over those scenes.
        seed: Of the order in which scenes are dealt out.
    """

    folds: int = 2
    by: By = 'scene'
    scenes: Mapping[str, str] | None = None
    heldout: float = 0.1
    most: int = 100
    seed: int = 0


def make_folds(options: Path, out: Path, request: Request) -> dict[str, list[int]]:
    """Write the lists of all folds, and an options file for the network that is trained without each of them.

    ``fold<k>/<task>.txt`` lists a fold's images, ``without<k>/<task>.txt`` all others, which the options file
    ``without<k>.yml`` trains on; ``heldout/`` and ``train/`` a part that is kept for validation, and the rest.

    Args:
        options: Options file of a training with tasks.
        out: Folder of the lists.
        request: How.

    Returns:
        By task how many images each fold has, then how many are held out.

    Raises:
        OptionsError: A task whose images cannot be found or would all lie in one fold, or another such request.
    """
    written = plain(read_options(str(options)))
    blocks = ((written.get('datasets') or {}).get('train') or {}).get('tasks')
    if not isinstance(blocks, Mapping) or not blocks:
        raise OptionsError(TASKS, f'expected tasks in {options}, got none')
    tasks = [Task(str(name), read(TaskOptions, block, f'{TASKS}.{name}')) for name, block in blocks.items()]
    _check(request, [task.name for task in tasks])
    held_out = _held_out(tasks, request)
    folds = _by_release(tasks, request.folds) if request.by == 'release' else _by_scene(tasks, request)
    parts = {task.name: _parts(task, places, request, held_out) for task, places in zip(tasks, folds)}
    for task in tasks:
        for part, numbers in parts[task.name].items():
            text = ''.join(f'{_line(task, number)}\n' for number in numbers)
            (out / part).mkdir(parents=True, exist_ok=True)
            write_atomic(out / part / f'{task.name}.txt', text.encode(errors='surrogateescape'))
    # last, as they say that the lists are whole
    for fold in range(request.folds):
        write_atomic(out / f'without{fold}.yml', _without(written, fold, out).encode())
    shown = [*(f'fold{fold}' for fold in range(request.folds)), HELD_OUT]
    return {name: [len(of_task.get(part, ())) for part in shown] for name, of_task in parts.items()}


def _check(request: Request, tasks: Sequence[str]) -> None:
    if request.folds < 2:
        raise OptionsError('--folds', f'expected 2 or more, got {request.folds}')
    if not 0 <= request.heldout < 1:
        raise OptionsError('--heldout', f'expected a share from 0 to below 1, got {request.heldout}')
    if request.most < 1:
        raise OptionsError('--heldout-images', f'expected 1 or more, got {request.most}')
    for name in request.scenes or {}:
        if name not in tasks:
            raise OptionsError('--scene', f"there is no task '{name}', only {', '.join(tasks)}")


def _held_out(tasks: Sequence[Task], request: Request) -> set[str]:
    """Draw the scenes that are held out: of each task its share, one at least."""
    found: set[str] = set()
    if not request.heldout:
        return found
    for task in tasks:
        scenes = sorted(set(_scenes(task, request)), key=lambda scene: _number(f'{HELD_OUT}|{request.seed}|{scene}'))
        wanted = max(1, round(request.heldout * len(scenes))) - len(found & set(scenes))
        found.update([scene for scene in scenes if scene not in found][: max(wanted, 0)])
    return found


def _scenes(task: Task, request: Request) -> list[str]:
    """Give the scene of each item: of one clean image in several tasks the same.

    Raises:
        OptionsError: A pattern is none, or does not fit an image.
    """
    names = [task.stem(number) for number in range(len(task))]
    text = (request.scenes or {}).get(task.name)
    if text is None:
        number = r's\d{3,}$' if task.many_to_one else r'_s\d{3,}$'
        return [re.sub(number, '', name) for name in names]
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise OptionsError('--scene', f"'{text}' is no pattern ({error})") from error
    if pattern.groups < 1:
        raise OptionsError('--scene', f"expected a group in the pattern, as in '(.+)_\\d+', got '{text}'")
    found = [pattern.search(name) for name in names]
    for name, match in zip(names, found):
        if match is None or match[1] is None:
            raise OptionsError('--scene', f"the pattern '{text}' does not fit {name}, an image of task {task.name}")
    return [match[1] for match in found if match is not None]


def _by_scene(tasks: Sequence[Task], request: Request) -> list[list[int]]:
    """Give the fold of each item: task by task each new scene goes where there are the fewest of the task's images."""
    fold_of: dict[str, int] = {}
    folds = []
    for task in tasks:
        scenes = _scenes(task, request)
        images = Counter(scenes)
        sizes = [0] * request.folds
        for scene in set(scenes) & set(fold_of):
            sizes[fold_of[scene]] += images[scene]
        new = set(scenes) - set(fold_of)
        for scene in sorted(new, key=lambda scene: (-images[scene], _number(f'{request.seed}|{scene}'))):
            fold_of[scene] = sizes.index(min(sizes))
            sizes[fold_of[scene]] += images[scene]
        folds.append([fold_of[scene] for scene in scenes])
    return folds


def _by_release(tasks: Sequence[Task], count: int) -> list[list[int]]:
    """Give the fold of each item by its degraded file's path as it is configured, of the clean one for noise."""
    folds = []
    for task in tasks:
        paths = [task.gt.path(pair.gt) if task.lq is None or pair.lq is None else task.lq.path(pair.lq)
                 for pair in task.pairs]  # fmt: skip
        digests = (hashlib.sha1(f'{task.name}|{path}'.encode(), usedforsecurity=False).digest() for path in paths)
        folds.append([int.from_bytes(digest[:8], 'big') % count for digest in digests])
    return folds


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode(errors='surrogateescape')).digest()[:8], 'big')


def _parts(task: Task, folds: Sequence[int], request: Request, held_out: set[str]) -> dict[str, list[int]]:
    """Give the numbers of a task's items in each list.

    Raises:
        OptionsError: A fold or the part that is held out has all images.
    """
    sizes = [folds.count(fold) for fold in range(request.folds)]
    if max(sizes) == len(folds):
        problem = f'fold {sizes.index(len(folds))} would hold all {len(folds)} images, and nothing is left to train on'
        raise OptionsError(f'{TASKS}.{task.name}', problem,
                           'Tell scenes apart by --scene, or give images of more scenes')  # fmt: skip
    parts: dict[str, list[int]] = {}
    for fold in range(request.folds):
        parts[f'fold{fold}'] = [number for number, own in enumerate(folds) if own == fold]
        parts[f'without{fold}'] = [number for number, own in enumerate(folds) if own != fold]
    if not request.heldout:
        return parts
    kept = [number for number, scene in enumerate(_scenes(task, request)) if scene in held_out]
    if len(kept) == len(folds):
        problem = f'all {len(kept)} images would be held out'
        raise OptionsError(f'{TASKS}.{task.name}', problem, 'Give images of more scenes, or --heldout 0')
    count = min(request.most, len(kept))
    spread = [kept[number * len(kept) // count] for number in range(count)]
    return {**parts, HELD_OUT: spread, LEFT: sorted(set(range(len(folds))) - set(kept))}


def _line(task: Task, number: int) -> str:
    """Name an item as a task's list does."""
    pair = task.pairs[number]
    clean = _name(task.gt, pair.gt)
    if task.lq is None or pair.lq is None:
        return clean
    degraded = _name(task.lq, pair.lq)
    return degraded if task.many_to_one else f'{clean}, {degraded}'


def _name(source: Source, number: int) -> str:
    return relpath(source.path(number), source.root)


def _without(written: Mapping[str, Any], fold: int, out: Path) -> str:
    """Give an options file for the network that never sees a fold."""
    data = written['datasets']
    tasks = {name: {**block, 'meta_info_file': list_of(out, f'without{fold}', name)}
             for name, block in data['train']['tasks'].items()}  # fmt: skip
    train = {**data['train'], 'tasks': tasks}
    return options_text({**written, 'name': network_name(written, fold), 'datasets': {**data, 'train': train}})


def list_of(out: Path, part: str, task: str) -> str:
    """Name the file that lists a task's images of a part (``fold0``, ``without0``, ``heldout``, ``train``)."""
    return str(out / part / f'{task}.txt')


def network_name(written: Mapping[str, Any], fold: int) -> str:
    """Name the run that trains without a fold."""
    return f'{written["name"]}_{fold}'
