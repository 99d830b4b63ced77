"""What tiles and local statistics do to an image, and what a large one takes, with a trained network."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage import data

from benchmarks.code.forward import SIDD, image
from benchmarks.code.measure import Result, cost, no_grad
from dinoir_plugin.archs.nafnet_arch import NAFNet
from dinoir_plugin.archs.restormer_arch import Restormer
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
    """A forward at 256 px with statistics over windows of 192 px, against one over all pixels."""
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
    lines = [
        f'The photograph astronaut of scikit-image, enlarged to {SIDE} px, with noise of sigma {NOISE}: '
        f'{_psnr(noisy, clean):.2f} dB, restored as a whole {_psnr(whole, clean):.2f} dB.',
        '',
        '| tile | overlap | guide | largest difference to the whole (of 255) | mean | at the joints | PSNR (dB) |',
        '|---|---|---|---|---|---|---|',
    ]
    for tile in TILES:
        for overlap in OVERLAPS:
            if 2 * overlap > tile:
                continue
            for words, shared in (('one for the image', True), ('one a tile', False)):
                result = _restore(checkpoint, noisy, shared, tile=tile, overlap=overlap)
                cells = (*_differences(result, whole, tile, overlap), _psnr(result, clean))
                lines.append(f'| {tile} | {overlap} | {words} | ' + ' | '.join(f'{cell:.2f}' for cell in cells) + ' |')
                print(lines[-1], flush=True)
    titles = ('channel attention over', 'PSNR (dB)', 'largest difference to the whole', 'mean')
    lines += ['', f'| {" | ".join(titles)} |', '|---|---|---|---|']
    lines.append(f'| the whole image | {_psnr(whole, clean):.2f} | 0 | 0 |')
    for window in WINDOWS:
        result = _restore(checkpoint, noisy, local_statistics=window)
        difference = np.abs(result - whole)
        lines.append(f'| windows of {window} px | {_psnr(result, clean):.2f} | {difference.max():.2f} | '
                     f'{difference.mean():.2f} |')  # fmt: skip
    ensemble = _restore(checkpoint, noisy, self_ensemble=True)
    lines.append(f'| the whole image, self-ensemble | {_psnr(ensemble, clean):.2f} | '
                 f'{np.abs(ensemble - whole).max():.2f} | {np.abs(ensemble - whole).mean():.2f} |')  # fmt: skip
    lines += ['', _large(checkpoint)]
    text = '\n'.join(lines) + '\n'
    out.mkdir(parents=True, exist_ok=True)
    (out / 'restoring.md').write_text(text)
    return text


def _images(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy, (side, side, 3), float32 in [0, 1]."""
    clean = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_CUBIC) / np.float32(255)
    noise = np.random.default_rng(0).normal(0, NOISE / 255, clean.shape)
    return clean, np.clip(clean + noise, 0, 1).astype(np.float32)


def _restore(checkpoint: Path, image: np.ndarray, shared: bool = True, **settings: Any) -> np.ndarray:
    """In levels of 255, so that differences are too."""
    restorer = Restorer.from_checkpoint(checkpoint, **settings)
    plan = restorer.plan
    restorer.plan = lambda height, width: plan(height, width)._replace(one_guide=shared)  # type: ignore[method-assign]
    return restorer.restore(image) * 255


def _psnr(image: np.ndarray, clean: np.ndarray) -> float:
    unit = image / 255 if image.max() > 1.5 else image
    return float(-10 * np.log10(np.mean((unit - clean) ** 2)))


def _differences(result: np.ndarray, whole: np.ndarray, tile: int, overlap: int) -> tuple[float, float, float]:
    """Largest, mean, and the mean step from row to row of the difference where tiles are faded, over that elsewhere.

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
    """Seconds and peak memory of 50 megapixels, in a process of its own."""
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
