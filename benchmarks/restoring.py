"""What tiles and local statistics do to an image, and what a large one takes, with a trained network."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage import data

from benchmarks.forward import SIDD, image
from benchmarks.measure import Result, cost, no_grad
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.core.markdown import table as markdown_table
from dinoir_plugin.nn.local_statistics import use_local_statistics
from dinoir_plugin.restore.restorer import Restorer

SIDE = 1024
TILES = (512, 256, 128)
OVERLAPS = (64, 128)
WINDOWS = (72, 144, 288)
LARGE = (5773, 8660)  # 50 megapixels
NOISE = 25
WINDOW = 192


def local_cost(runs: int, name: str) -> Result:
    """Time a forward at 256 px with statistics over windows of 192 px, against one over all pixels."""
    makers: dict[str, Callable[[], Any]] = {'restormer': Restormer, 'nafnet': lambda: NAFNet(**SIDD)}
    whole, local, x = makers[name]().eval(), makers[name]().eval(), image(256)
    use_local_statistics(local, WINDOW)
    return cost({'ours': no_grad(lambda: local(x)), 'against': no_grad(lambda: whole(x))}, runs)


def table(checkpoint: Path, out: Path) -> str:
    """Measure, and keep the tables as ``restoring.md``.

    Args:
        checkpoint: A trained network that removes noise.
        out: Folder for the file.

    Returns:
        The tables in Markdown.
    """
    clean, noisy = _images(SIDE)
    whole = _restore(checkpoint, noisy)
    text = (
        f'The photograph astronaut of scikit-image, enlarged to {SIDE} px, with noise of sigma {NOISE}: '
        f'{_psnr(noisy, clean):.2f} dB, restored as a whole {_psnr(whole, clean):.2f} dB.\n\n'
        f'{_tiles(checkpoint, noisy, clean, whole)}\n{_statistics(checkpoint, noisy, clean, whole)}\n'
        f'{_large(checkpoint)}\n'
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / 'restoring.md').write_text(text)
    return text


def _tiles(checkpoint: Path, noisy: np.ndarray, clean: np.ndarray, whole: np.ndarray) -> str:
    """Compare restoring in tiles with restoring ``whole``."""
    rows = []
    for tile, overlap in itertools.product(TILES, OVERLAPS):
        if 2 * overlap > tile:
            continue
        for words, shared in (('one for the image', True), ('one a tile', False)):
            result = _restore(checkpoint, noisy, shared, tile=tile, overlap=overlap)
            cells = (*_differences(result, whole, tile, overlap), _psnr(result, clean))
            rows.append([tile, overlap, words, *(f'{cell:.2f}' for cell in cells)])
            print(*rows[-1], flush=True)
    largest = 'largest difference to the whole (of 255)'
    return markdown_table(['tile', 'overlap', 'guide', largest, 'mean', 'at the joints', 'PSNR (dB)'], rows)


def _statistics(checkpoint: Path, noisy: np.ndarray, clean: np.ndarray, whole: np.ndarray) -> str:
    """Compare local statistics and self-ensemble with restoring ``whole``."""
    ways: dict[str, dict[str, Any]] = {
        **{f'windows of {window} px': {'local_statistics': window} for window in WINDOWS},
        'the whole image, self-ensemble': {'self_ensemble': True},
    }
    rows = [['the whole image', f'{_psnr(whole, clean):.2f}', '0', '0']]
    for words, settings in ways.items():
        result = _restore(checkpoint, noisy, **settings)
        difference = np.abs(result - whole)
        rows.append([words, *(f'{cell:.2f}' for cell in (_psnr(result, clean), difference.max(), difference.mean()))])
    return markdown_table(['channel attention over', 'PSNR (dB)', 'largest difference to the whole', 'mean'], rows)


def _images(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Make an image, clean and noisy, (side, side, 3), float32 in [0, 1]."""
    clean = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_CUBIC) / np.float32(255)
    noise = np.random.default_rng(0).normal(0, NOISE / 255, clean.shape)
    return clean, np.clip(clean + noise, 0, 1).astype(np.float32)


def _restore(checkpoint: Path, image: np.ndarray, shared: bool = True, **settings: Any) -> np.ndarray:
    """Restore in levels of 255, so that differences are too."""
    restorer = Restorer.from_checkpoint(checkpoint, **settings)
    plan = restorer.plan
    restorer.plan = lambda height, width: plan(height, width)._replace(one_guide=shared)  # type: ignore[method-assign]
    return restorer.restore(image) * 255


def _psnr(image: np.ndarray, clean: np.ndarray) -> float:
    unit = image / 255 if image.max() > 1.5 else image
    return float(-10 * np.log10(np.mean((unit - clean) ** 2)))


def _differences(result: np.ndarray, whole: np.ndarray, tile: int, overlap: int) -> tuple[float, float, float]:
    """Give the largest and the mean difference, and how much larger its steps between rows are where tiles are faded.

    A seam would be a step in the difference; the last figure is 1 where there is none.
    """
    from dinoir_plugin.core.tiles import axis_weights

    difference = result - whole
    steps = np.abs(np.diff(difference, axis=0)).mean(axis=(1, 2))
    faded = np.zeros(SIDE - 1, bool)
    for start, _ in axis_weights(SIDE, tile, overlap, 8)[1:]:
        faded[start : start + overlap] = True
    return np.abs(difference).max(), np.abs(difference).mean(), steps[faded].mean() / steps[~faded].mean()


def _large(checkpoint: Path) -> str:
    """Measure seconds and peak memory of 50 megapixels, in a process of its own."""
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_large, args=(checkpoint, sender))
    process.start()
    words: str = receiver.recv()
    process.join()
    return words


def _measure_large(checkpoint: Path, sender: Any) -> None:
    restorer = Restorer.from_checkpoint(checkpoint)
    before = _status('VmRSS')
    height, width = LARGE
    image = np.tile(data.astronaut(), (12, 17, 1))[:height, :width]
    start = time.perf_counter()
    restorer.restore(image)
    seconds = time.perf_counter() - start
    plan = restorer.plan(*LARGE)
    needs, free = restorer._memory
    from dinoir_plugin.restore.memory import GIB, bytes_needed

    sender.send(
        f'{height * width / 1e6:.0f} megapixels ({width}x{height}): tiles of {plan.tile} chosen with '
        f'{free / GIB:.1f} GiB free; {seconds:.0f} s; {(_status("VmHWM") - before) / GIB:.2f} GiB at most above the '
        f'{before / GIB:.2f} GiB of the loaded network, planned {bytes_needed(*LARGE, needs, plan.tile) / GIB:.2f} GiB '
        f'({torch.get_num_threads()} threads).'
    )


def _status(key: str) -> int:
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(f'{key}:'))
    return int(line.split()[1]) << 10
