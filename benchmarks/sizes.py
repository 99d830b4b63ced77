"""Images in and out: the data loader, and the restoration of large images in tiles."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from basicsr.data.paired_image_dataset import PairedImageDataset

from benchmarks.forward import SIDD, VIT_S
from benchmarks.measure import Form, Result, cost, peak_memory, spread
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.inference.tiling import restore_image
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch

SIZES = {'1080p': (1080, 1920), '4K': (2160, 3840)}


@contextmanager
def rain_pairs() -> Iterator[tuple[MixedDegradationDataset, PairedImageDataset]]:
    """Open our data set and BasicSR's on the same three pairs in PNG folders, 128 px crops."""
    import cv2
    from skimage import data

    with tempfile.TemporaryDirectory() as folder:
        roots = {}
        for kind in ('gt', 'lq'):
            roots[f'dataroot_{kind}'] = str(Path(folder) / kind)
            (Path(folder) / kind).mkdir()
            for number, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
                cv2.imwrite(str(Path(folder) / kind / f'{number}.png'), photo)
        common = {'phase': 'train', 'gt_size': 128, 'use_hflip': True, 'use_rot': True}
        ours = MixedDegradationDataset(
            {**common, 'name': 'ours', 'type': 'MixedDegradationDataset', 'tasks': {'derain': roots}, 'seed': 0}
        )
        yield ours, PairedImageDataset({**common, **roots, 'io_backend': {'type': 'disk'}, 'scale': 1})


def loader(runs: int) -> Result:
    """Time samples of MixedDegradationDataset (rain pairs, PNG, 128 px crops, 0 workers) against PairedImageDataset."""
    with rain_pairs() as (ours, theirs):
        forms: dict[str, Form] = {
            'ours': lambda: [ours[number % len(ours)] for number in range(12)],
            'against': lambda: [theirs[number % len(theirs)] for number in range(12)],
        }
        return cost(forms, runs)


def drawing(runs: int) -> Result:
    """Time choosing a sample, which follows from the seed and its number, over making it."""
    with rain_pairs() as (ours, _):

        def choose() -> None:
            for number in range(12):
                ours.choose(number)

        return cost({'ours': choose, 'against': lambda: [ours[number] for number in range(12)]}, runs)


def tiled(runs: int) -> Result:
    """Time a 1080p and a 4K image through DINO-IR with NAFNet in tiles of 512: a pixel of 4K over one of 1080p.

    One run each, and the peak memory beyond what the image and its result take in the note.
    """
    per_pixel = {}
    notes = []
    for name, (height, width) in SIZES.items():
        restore = in_tiles(height, width)
        start = time.perf_counter()
        restore()
        seconds = time.perf_counter() - start
        extra = peak_memory(in_tiles, height, width) - 3 * 4 * height * width
        per_pixel[name] = spread([seconds / (height * width) * 1e6])
        notes.append(f'{name}: {seconds:.0f} s, peak memory beside the result {extra / 2**20:.0f} MiB')
    forms = {'ours': per_pixel['4K'], 'against': per_pixel['1080p']}
    ratio = forms['ours']['median'] / forms['against']['median']
    return Result(ratio, 'us a pixel', forms, '; '.join(notes))


def in_tiles(height: int, width: int) -> Form:
    """Give the form that restores a random image of this size in tiles."""
    warnings.filterwarnings('ignore', message='The encoder .* has random weights')
    net = DINOIRArch({'type': 'NAFNet', **SIDD}, VIT_S, ['encoders.*', 'middle_blks', 'decoders.*']).eval()
    image = torch.rand(1, 3, height, width)

    def restore() -> torch.Tensor:
        with torch.no_grad():
            return restore_image(net, image, tile=512)

    return restore
