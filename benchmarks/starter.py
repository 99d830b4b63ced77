"""Figures of the package's small model on images that it never saw: starter.md and starter.jpg.

    python -m benchmarks.starter FOLDER [--checkpoint CKPT] [--every 1]

FOLDER holds cbsd68, rain100l/test and sots_indoor/test. The image is of photographs of scikit-image only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.data import build_dataset
from basicsr.metrics.psnr_ssim import calculate_psnr, calculate_ssim
from basicsr.utils import tensor2img
from skimage import data

from benchmarks.starter_public import public, sources
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.console import GOOD, say
from dinoir_plugin.core.machine import machine
from dinoir_plugin.core.markdown import table
from dinoir_plugin.data.degradation_base import Context
from dinoir_plugin.data.degradations import build_degradations
from dinoir_plugin.data.depth import made_up_depth
from dinoir_plugin.experiments.quickstart import montage
from dinoir_plugin.imaging.decoding import Array
from dinoir_plugin.metrics.functional import all_in_one
from dinoir_plugin.restore.restorer import Restorer
from dinoir_plugin.restore.starter import NAME

FILE = Path(__file__).with_suffix('.md')
IMAGE = FILE.with_suffix('.jpg')
SEED = 0
BLUR: dict[str, Any] = {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]}  # the mix of the DINO-IR paper
LARGE = (4000, 6000)  # 24 megapixels
WHY = """NAFNet, because at 256 px in its authors' size it takes a tenth of the time of Restormer in theirs on two cores
(0.32 s and 3.18 s, rows `nafnet` and `restormer` of [`results.md`](results.md)) and a small one is as good as a small
Restormer after the same training (means of 25.55 and 25.40 dB in [`mini_all4.md`](mini_all4.md)). Without guidance:
EfficientNet-Lite0 changed NAFNet by -0.33 ± 1.18 dB there, and the same encoder with random weights by +0.18 ± 0.11."""
TARGETS = ('noise at sigma 25 at least 29.0 dB (on a CPU)', 'no test below its input', 'clean images at least 40 dB')
MISSED = 'Missed targets:'
NOISE, CLEAN = 'CBSD68, noise 25', 'CBSD68, clean'


def tests(folder: Path) -> dict[str, dict[str, Any]]:
    """Give the test sets as tasks of a MixedDegradationDataset."""
    clean = str(folder / 'cbsd68')
    made: dict[str, dict[str, Any]]
    made = {f'CBSD68, noise {sigma}': {'type': 'gaussian_noise', 'sigma': sigma} for sigma in (15, 25, 50)}
    made |= {f'CBSD68, JPEG {quality}': {'type': 'jpeg', 'quality': quality} for quality in (10, 20, 40)}
    made |= {'CBSD68, Gaussian blur': BLUR, CLEAN: {'type': 'gaussian_noise', 'sigma': 0}}
    rain, haze = folder / 'rain100l' / 'test', folder / 'sots_indoor' / 'test'
    return {
        **{name: {'dataroot_gt': clean, 'degradation': degradation} for name, degradation in made.items()},
        'Rain100L, 30 images': {'dataroot_gt': str(rain / 'clean'), 'dataroot_lq': str(rain / 'rain')},
        'SOTS-indoor, 12 images': {'dataroot_gt': str(haze / 'clear'), 'dataroot_lq': str(haze / 'hazy'),
                                   'pairing': 'reside'},
    }  # fmt: skip


def measure(restorer: Restorer, folder: Path, every: int) -> dict[str, np.ndarray]:
    """Restore every image of each test.

    Args:
        restorer: The model.
        folder: Of the test sets.
        every: 1 for all images, n for each n-th.

    Returns:
        Test to (2, 4): the input's and the result's mean PSNR and SSIM in BasicSR's convention, then in the all-in-one
        papers'.
    """
    options = {'name': NAME, 'type': 'MixedDegradationDataset', 'phase': 'val', 'seed': SEED, 'tasks': tests(folder)}
    images = build_dataset(options)
    found: dict[str, list[Any]] = defaultdict(list)
    for number in range(0, len(images), every):
        item = images[number]
        pair = item['lq'], restorer.restore(item['lq'])
        if item['task'] not in found:
            say(f'{item["task"]} ...')
        found[item['task']].append([figures(image, item['gt']) for image in pair])
    return {task: np.mean(values, axis=0) for task, values in found.items()}


def figures(image: torch.Tensor, target: torch.Tensor) -> list[float]:
    """Compare (3, H, W), RGB in [0, 1], with a target: PSNR and SSIM, of 8 bits and as all-in-one papers take them."""
    eight, wanted = tensor2img(image), tensor2img(target)
    floats, exact = (value.clamp(0, 1).permute(1, 2, 0).numpy() for value in (image, target))
    return [
        calculate_psnr(eight, wanted, crop_border=0),
        calculate_ssim(eight, wanted, crop_border=0),
        all_in_one.psnr(floats, exact),
        all_in_one.ssim(floats, exact),
    ]


def report(found: dict[str, np.ndarray]) -> str:
    """Write the table of all tests, and the public figures beside it."""
    rows = []
    for task, (before, after) in found.items():
        cells = [f'{pair[0]:.2f} / {pair[1]:.4f}' for figure in (before, after) for pair in (figure[:2], figure[2:])]
        gain = '' if np.isinf(before[0]) else f'{after[0] - before[0]:+.2f}'
        rows.append([task, cells[0], cells[2], gain, cells[1], cells[3], public(task)])
    heads = ['test', 'input', 'restored', 'gain (dB)', 'input, all-in-one', 'restored, all-in-one',
             'published by others, single task']  # fmt: skip
    return table(heads, rows)


def missed(found: dict[str, np.ndarray]) -> list[str]:
    """Say which of the targets were missed, and by how much."""
    lines = []
    if found[NOISE][1][0] < 29:
        lines.append(f'{TARGETS[0]}: {found[NOISE][1][0] - 29:.2f} dB')
    lines += [f'{TARGETS[1]}: {task}, {after[0] - before[0]:.2f} dB'
              for task, (before, after) in found.items() if after[0] < before[0] and task != CLEAN]  # fmt: skip
    if found[CLEAN][1][0] < 40:
        lines.append(f'{TARGETS[2]}: {found[CLEAN][1][0] - 40:.2f} dB')
    return lines


def draw(restorer: Restorer) -> None:
    """Draw degraded, restored and target of photographs of scikit-image that it was not trained on."""
    astronaut, motorcycle = data.astronaut()[30:230, 100:360], data.stereo_motorcycle()[0][100:300, 200:460]
    rows = []
    for image, options in (
        (astronaut, {'type': 'gaussian_noise', 'sigma': 25}),
        (motorcycle, {'type': 'jpeg', 'quality': 10}),
        (astronaut, BLUR),
        (motorcycle, {'type': 'rain_streaks'}),
        (astronaut, {'type': 'haze', 'beta': [0.8, 0.8]}),
    ):
        rng = np.random.default_rng(SEED)
        clean = image / np.float32(255)
        height, width = image.shape[:2]
        context = Context(made_up_depth(height, width, rng))
        degraded = clean
        for degradation in build_degradations(options, 'degradation'):
            degraded = degradation.apply(degraded, rng, context)
        rows.append([_eight(value) for value in (degraded, restorer.restore(degraded), clean)])
    coded = cv2.imencode('.jpg', montage(rows), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    write_atomic(IMAGE, coded.tobytes())


def _eight(image: Array) -> Array:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)[..., ::-1]


def cost(checkpoint: str) -> str:
    """Measure seconds of 512 px and of a photo of 24 megapixels, with its peak memory, in a process of its own."""
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_cost, args=(checkpoint, sender))
    process.start()
    words: str = receiver.recv()
    process.join()
    return words


def _measure_cost(checkpoint: str, sender: Any) -> None:
    restorer = Restorer.from_checkpoint(checkpoint, device='cpu')
    image = data.astronaut()
    seconds = min(_seconds(restorer, image) for _ in range(5))
    tiled = np.tile(image, (8, 12, 1))[: LARGE[0], : LARGE[1]]
    large = _seconds(restorer, tiled)
    status = Path('/proc/self/status').read_text().splitlines()
    peak = int(next(line for line in status if line.startswith('VmHWM')).split()[1]) / 1e6
    sender.send(
        f'512 px: {seconds:.2f} s. 24 megapixels ({LARGE[1]}x{LARGE[0]}): {large:.0f} s, at most {peak:.1f} GB of '
        f'memory for the whole process, tiles of {restorer.plan(*LARGE).tile} ({torch.get_num_threads()} threads).'
    )


def _seconds(restorer: Restorer, image: Array) -> float:
    start = time.perf_counter()
    restorer.restore(image)
    return time.perf_counter() - start


def write(folder: Path, checkpoint: str = NAME, every: int = 1) -> str:
    """Measure, and write starter.md and starter.jpg.

    Args:
        folder: Of the test sets.
        checkpoint: The model, ``starter`` for that of the package.
        every: 1 for all images, n for each n-th, which the file says.

    Returns:
        The figures in Markdown, for the model's card.
    """
    restorer = Restorer.from_checkpoint(checkpoint, device='cpu')
    found = measure(restorer, folder, every)
    draw(restorer)
    missing = missed(found)
    targets = f'{MISSED}\n\n' + '\n'.join(f'- {line}' for line in missing) if missing else 'No target is missed.'
    some = '' if every == 1 else f' One image of {every} was measured.'
    text = (
        f"Means over the images, PSNR in dB / SSIM: BasicSR's (8 bits, RGB), then the all-in-one papers' (floats, "
        'sides cropped to multiples of 16) of the same images. Gaussian blur has a kernel of 15 px and sigma from 2.0 '
        f'to 3.1; degraded images have 8 bits.{some}\n\n{report(found)}\n{targets}\n\n{cost(checkpoint)}\n'
    )
    where = ', '.join(f'{key} {value}' for key, value in machine().items())
    command = f'`python -m benchmarks.starter {folder} --every {every}`'
    head = f'# The starter model on images that it never saw\n\n{command}. {where}.\n\n'
    write_atomic(FILE, f'{head}{text}\n{WHY}\n\n{sources()}\n\n![Degraded, restored, target]({IMAGE.name})\n\n'
                 '*Photographs of scikit-image that it was not trained on: noise, JPEG, blur, drawn rain and haze.*\n'
                 .encode())  # fmt: skip
    return text


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder of the test sets')
    parser.add_argument('--checkpoint', default=NAME, help=f'default: {NAME}, the model in the package')
    parser.add_argument('--every', type=int, default=1, help='measure each n-th image only')
    args = parser.parse_args(words)
    say(write(args.data, args.checkpoint, args.every))
    return GOOD


if __name__ == '__main__':
    sys.exit(main())
