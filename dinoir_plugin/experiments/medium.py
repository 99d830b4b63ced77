"""Images of medium quality: each one restored by the network that was trained without its fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import read
from dinoir_plugin.core.written import plain
from dinoir_plugin.core.yaml_options import read_options
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.pairing import flat
from dinoir_plugin.data.sampling import file_rng
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.folds import TASKS, list_of, network_name
from dinoir_plugin.experiments.runs import checkpoint_of
from dinoir_plugin.imaging.decoding import FloatArray
from dinoir_plugin.imaging.encoding import encode_image
from dinoir_plugin.imaging.image_file import DecodedImage
from dinoir_plugin.restore.restorer import Restorer

LOW, MEDIUM = 'low', 'medium'


class _Item(NamedTuple):
    """Hold an image that is to be rendered, and the fold that it lies in."""

    task: Task
    number: int
    fold: int
    low: Path | None
    medium: Path


class Outcome(NamedTuple):
    """Count the images.

    Attributes:
        rendered: Written now.
        there: Written before.
    """

    rendered: int
    there: int


def render(
    options: Path,
    lists: Path,
    out: Path,
    checkpoints: Sequence[Path] = (),
    device: str = 'auto',
    settings: Mapping[str, Any] | None = None,
) -> Outcome:
    """Write images of medium quality to ``<out>/<task>/medium/``, named as the degraded ones.

    Where a task's degraded images are made, those that were restored are written too, to ``<out>/<task>/low/``: drawn
    again they would be others. What is there already is left as it is, so that a broken run goes on.

    Args:
        options: Options file of which the folds were made.
        lists: Folder of the folds' lists.
        out: Folder of the images.
        checkpoints: Networks by fold, each trained without it; left out: those of the runs ``<name>_<fold>``.
        device: As :meth:`Restorer.from_checkpoint` takes it.
        settings: Of the restorer, such as ``{'tile': 512}``.

    Raises:
        OptionsError: The lists, a task or a network cannot be had.
        ValueError: An image cannot be read.
    """
    written = plain(read_options(str(options)))
    count = len(list(lists.glob('without*.yml')))
    if not count:
        raise OptionsError('--folds', f'expected a folder of lists, but {lists} has no without0.yml',
                           'Make them: dinoir prepare folds')  # fmt: skip
    networks = list(checkpoints) or [checkpoint_of(network_name(written, fold)) for fold in range(count)]
    if len(networks) != count:
        raise OptionsError('--checkpoints', f'expected {count}, one for each fold, got {len(networks)}')
    data = written['datasets']['train']
    seed = data.get('seed', written.get('manual_seed')) or 0
    items = [item for fold in range(count) for item in _items(data['tasks'], lists, out, fold)]
    waiting = [item for item in items if not item.medium.exists()]
    how: dict[str, Any] = {'desc': 'medium images', 'unit': 'image', 'dynamic_ncols': True}
    with tqdm(total=len(waiting), disable=not waiting, **how) as bar:
        for fold, network in enumerate(networks):
            own = [item for item in waiting if item.fold == fold]
            if own:
                _check_trained(network, fold, lists)
                restorer = Restorer.from_checkpoint(network, device=device, **(settings or {}))
                for item in own:
                    _render(item, restorer, seed)
                    bar.update()
    return Outcome(len(waiting), len(items) - len(waiting))


def _items(blocks: Mapping[str, Any], lists: Path, out: Path, fold: int) -> Iterator[_Item]:
    for name, block in blocks.items():
        own = {**block, 'meta_info_file': list_of(lists, f'fold{fold}', name)}
        task = Task(name, read(TaskOptions, own, f'{TASKS}.{name}'))
        for number in range(len(task)):
            file = f'{flat(task.seen(number))}.png'
            low = None if task.lq is not None else out / name / LOW / file
            yield _Item(task, number, fold, low, out / name / MEDIUM / file)


def _check_trained(network: Path, fold: int, lists: Path) -> None:
    if not network.is_file():
        raise OptionsError('--checkpoints', f'there is no {network}, the network that is trained without fold {fold}',
                           f'Train it: python -m basicsr.train -opt {lists}/without{fold}.yml')  # fmt: skip


def _render(item: _Item, restorer: Restorer, seed: int) -> None:
    sample = item.task.whole(item.number, file_rng(seed, item.task.stem(item.number)))
    degraded = _as_stored(sample.lq)
    if item.low is not None:
        _write(item.low, degraded)
    # last, as its presence says that all is done
    _write(item.medium, restorer.restore_decoded(DecodedImage(degraded), name=item.medium.stem).pixels)


def _as_stored(image: FloatArray) -> Any:
    """Give an image, (H, W, 3), RGB in [0, 1], in 8 bits."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _write(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, encode_image(DecodedImage(pixels), 'png'))
