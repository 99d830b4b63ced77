"""Patches a second from folders and LMDBs, whole and cut, beside BasicSR's PairedImageDataset."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import spread
from dinoir_plugin.core.markdown import table as markdown_table
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.prepare import Request, prepare
from dinoir_plugin.datasets.recipe import Recipe

BATCH, PATCH = 8, 128
SUB_IMAGES = (256, 192)
NOISE = {'type': 'gaussian_noise', 'sigma': [15, 50]}
BLUR = {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]}
SETS = ('bsd400', 'rain100l', 'sots_indoor')


def table(data: Path, runs: int, out: Path) -> str:
    """Measure patches of 128 px with 1 and 2 workers, and keep the table.

    Args:
        data: A folder with ``bsd400/``, ``rain100l/`` and ``sots_indoor/`` as their releases have them.
        runs: How often each loader is timed; the forms take turns.
        out: Folder for ``loading.md``.

    Returns:
        The table in Markdown.
    """
    with tempfile.TemporaryDirectory() as scratch:
        forms = _forms(data, Path(scratch))
        rates: dict[tuple[str, int], list[float]] = {}
        for turn in range(runs):
            for (name, dataset), workers in ((form, count) for form in forms.items() for count in (1, 2)):
                rates.setdefault((name, workers), []).append(_rate(dataset, workers))
                rate = rates[name, workers][-1]
                print(f'{turn + 1}/{runs} {name}, {workers} workers: {rate:.0f} a second', flush=True)
        size = {name: dataset.size for name, dataset in forms.items()}
    lines = []
    for name in forms:
        cells = [spread(rates[name, workers]) for workers in (1, 2)]
        words = [f'{cell["median"]:.0f} [{cell["quartile_1"]:.0f}, {cell["quartile_3"]:.0f}]' for cell in cells]
        lines.append([name, f'{size[name] / 1e6:.0f}', *words])
    text = markdown_table(['source', 'disk (MB)', '1 worker', '2 workers'], lines)
    out.mkdir(parents=True, exist_ok=True)
    (out / 'loading.md').write_text(text)
    return text


class Endless(Dataset[Any]):
    """Hold a data set whose numbers go round, and what it takes on disk in bytes."""

    def __init__(self, dataset: Any, size: int) -> None:
        self.dataset = dataset
        self.size = size

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, number: int) -> Any:
        # ours goes on to the next pass by itself; PairedImageDataset knows its own numbers only
        ours = isinstance(self.dataset, MixedDegradationDataset)
        return self.dataset[number if ours else number % len(self.dataset)]


def _forms(data: Path, scratch: Path) -> dict[str, Endless]:
    """Make the data sets by name: BasicSR's on PNG folders, ours on folders and on LMDBs of four kinds."""
    from basicsr.data.paired_image_dataset import PairedImageDataset

    rain = data / 'rain100l' / 'train'
    paired = PairedImageDataset({
        'phase': 'train', 'dataroot_gt': str(rain / 'clean'), 'dataroot_lq': str(rain / 'rain'), 'gt_size': PATCH,
        'scale': 1, 'use_hflip': True, 'use_rot': True, 'io_backend': {'type': 'disk'},
    })  # fmt: skip
    folders = _png_folders(data, scratch / 'folders')
    forms = {
        "BasicSR's PairedImageDataset, PNG folders": Endless(paired, _size(rain)),
        'four tasks, PNG folders': _four_tasks(lambda name: folders / name, scratch / 'folders'),
    }
    for encoding in ('png', 'bmp'):
        for cut in (None, SUB_IMAGES):
            root = scratch / f'{encoding}{cut}'
            for name in SETS:
                prepare(CATALOGUE[name], Request([data / name], root, Recipe(encoding, cut), workers=2, partial=True))
            words = 'whole images' if cut is None else f'sub-images of {cut[0]} px'
            roots = _lmdb_roots(root)
            forms[f'four tasks, LMDB, {words}, {encoding.upper()}'] = _four_tasks(roots.__getitem__, root)
    return forms


def _png_folders(data: Path, root: Path) -> Path:
    """Write the same images as PNG files, in the folders that `_four_tasks` asks for."""
    parts = {
        'photographs': data / 'bsd400',
        **{name: data / 'rain100l' / 'train' / name for name in ('rain', 'clean')},
        **{name: data / 'sots_indoor' / 'train' / name for name in ('hazy', 'clear')},
    }
    for name, folder in parts.items():
        (root / name).mkdir(parents=True)
        for path in sorted(folder.iterdir()):
            image = cv2.imread(str(path))
            if image is not None:
                cv2.imwrite(str(root / name / f'{path.stem}.png'), image)
    return root


def _lmdb_roots(root: Path) -> Mapping[str, Path]:
    def of(name: str, role: str) -> Path:
        dataset = CATALOGUE[name]
        split = next(split for split in dataset.splits if (root / dataset.root(split, role)).is_dir())
        return root / dataset.root(split, role)

    hazy, clear = CATALOGUE['sots_indoor'].roles
    return {
        'photographs': of('bsd400', 'clean'),
        'rain': of('rain100l', 'rain'), 'clean': of('rain100l', 'clean'),
        'hazy': of('sots_indoor', hazy), 'clear': of('sots_indoor', clear),
    }  # fmt: skip


def _four_tasks(root: Callable[[str], Path], folder: Path) -> Endless:
    tasks = {
        'denoise': {'dataroot_gt': str(root('photographs')), 'degradation': NOISE},
        'deblur': {'dataroot_gt': str(root('photographs')), 'degradation': BLUR},
        'derain': {'dataroot_gt': str(root('clean')), 'dataroot_lq': str(root('rain'))},
        'dehaze': {'dataroot_gt': str(root('clear')), 'dataroot_lq': str(root('hazy')), 'pairing': 'reside'},
    }
    dataset = MixedDegradationDataset({'phase': 'train', 'gt_size': PATCH, 'tasks': tasks})
    return Endless(dataset, _size(folder))


def _rate(dataset: Endless, workers: int, seconds: float = 4.0) -> float:
    """Measure patches a second over some seconds, after the first batches of every worker."""
    loader = iter(DataLoader(dataset, batch_size=BATCH, num_workers=workers))
    for _ in range(4 * workers):
        next(loader)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(loader)
        count += BATCH
    return count / (time.perf_counter() - start)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
