"""The quickstart's two ends: make its images, and show what the trained network does with them.

    python -m dinoir_plugin.experiments.quickstart prepare     photographs of scikit-image into datasets/quickstart/
    python -m dinoir_plugin.experiments.quickstart report      table and image from experiments/dinoir_quickstart/

Between the two, BasicSR's own trainer runs options/train_dinoir_quickstart.yml.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from basicsr.data import build_dataset
from basicsr.metrics.psnr_ssim import calculate_psnr
from basicsr.utils import tensor2img
from skimage import data

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.experiments.variants import read_yaml
from dinoir_plugin.imaging.decoding import Array
from dinoir_plugin.restore.restorer import Restorer

IMAGES = Path('datasets/quickstart')
EXPERIMENT = Path('experiments/dinoir_quickstart')
TRAINING = ('chelsea', 'coffee', 'rocket', 'hubble_deep_field', 'camera', 'coins', 'brick', 'grass', 'gravel')
SIDE = 200  # of a training image
CROP_HEIGHT, CROP_WIDTH = 144, 200
FIGURE_HEADER = 26
FIGURE_GAP = 6


def main() -> int:
    """Run one of the two ends; the exit status of `report` says whether every task got better."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('step', choices=['prepare', 'report'])
    step = parser.parse_args().step
    return prepare() if step == 'prepare' else report()


def prepare() -> int:
    """Write pieces of nine photographs for training and eight crops of two other photographs for validation."""
    pieces = 0
    for name in TRAINING:
        image = getattr(data, name)()
        # small files, because a patch costs the decoding of its whole file
        for top in range(0, image.shape[0] - SIDE + 1, SIDE):
            for left in range(0, image.shape[1] - SIDE + 1, SIDE):
                stem = f'{name.split("_")[0]}_{top}_{left}'
                write(IMAGES / 'train' / f'{stem}.png', image[top : top + SIDE, left : left + SIDE])
                pieces += 1
    heldout = {'astronaut': data.astronaut(), 'motorcycle': data.stereo_motorcycle()[0]}
    for name, image in heldout.items():
        tops = (0, image.shape[0] - CROP_HEIGHT)
        lefts = (0, image.shape[1] - CROP_WIDTH)
        corners = [(top, left) for top in tops for left in lefts]
        for number, (top, left) in enumerate(corners):
            crop = image[top : top + CROP_HEIGHT, left : left + CROP_WIDTH]
            write(IMAGES / 'heldout' / f'{name}{number}.png', crop)
    say(f'{IMAGES}/: {pieces} pieces of {len(TRAINING)} photographs, 8 held-out crops of {len(heldout)} others')
    return GOOD


def write(path: Path, image: Array) -> None:
    """Write a uint8 image, RGB (H, W, 3) or grey (H, W), as a colour PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
    if not cv2.imwrite(str(path), colour[..., ::-1]):
        raise OSError(f'cannot write {path}')


def report() -> int:
    """Restore the held-out images with the trained network; print the table, write the image."""
    options = read_yaml(options_file('train_dinoir_quickstart'))
    restorer = Restorer.from_checkpoint(EXPERIMENT / 'models' / 'net_g_latest.pth')
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    rows: dict[str, list[Array]] = {}
    for item in build_dataset({**options['datasets']['val'], 'phase': 'val'}):
        restored = restorer.restore(item['lq'])
        degraded, result, target = (tensor2img(image) for image in (item['lq'], restored, item['gt']))
        scores[item['task']].append((psnr(degraded, target), psnr(result, target)))
        rows.setdefault(item['task'], [degraded, result, target])
    figure = EXPERIMENT / 'before_after.png'
    if not cv2.imwrite(str(figure), montage(list(rows.values()))):
        raise OSError(f'cannot write {figure}')
    failed = say_scores(scores)
    weights = options['network_g']['encoder']['weights']
    say(f"\nThe encoder's weights are {weights} here: this shows that the machinery works, no more.")
    say(f'Before, after and target of each task: {figure.resolve()}')
    if failed:
        note(f'FAILED: no gain in {", ".join(failed)}')
    return BAD if failed else GOOD


def psnr(image: Array, target: Array) -> float:
    """Compute the PSNR in dB of two uint8 images."""
    return float(calculate_psnr(image, target, crop_border=0))


def say_scores(scores: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Write mean PSNR before and after of each task; return the tasks without a gain."""
    say('\nPSNR on held-out photographs (dB, mean)\n')
    say(f'{"task":<10} {"images":>8} {"degraded":>9} {"restored":>9} {"gain":>7}')
    failed = []
    for task, pairs in scores.items():
        before, after = np.mean(pairs, axis=0)
        say(f'{task:<10} {len(pairs):>8} {before:>9.2f} {after:>9.2f} {after - before:>+7.2f}')
        if after <= before:
            failed.append(task)
    return failed


def montage(rows: list[list[Array]]) -> Array:
    """Draw rows of equally large BGR images on white, headed degraded, restored, target."""
    height, width = rows[0][0].shape[:2]
    columns = len(rows[0])
    canvas_height = FIGURE_HEADER + len(rows) * (height + FIGURE_GAP)
    canvas = np.full((canvas_height, columns * (width + FIGURE_GAP) - FIGURE_GAP, 3), 255, np.uint8)
    for column, title in enumerate(('degraded', 'restored', 'target')):
        place = (column * (width + FIGURE_GAP) + 4, FIGURE_HEADER - 8)
        cv2.putText(canvas, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    for row, images in enumerate(rows):
        top = FIGURE_HEADER + row * (height + FIGURE_GAP)
        for column, image in enumerate(images):
            left = column * (width + FIGURE_GAP)
            canvas[top : top + height, left : left + width] = image
    return canvas


if __name__ == '__main__':
    sys.exit(main())
