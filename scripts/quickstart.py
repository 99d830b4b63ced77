"""The quickstart's two ends: make its images, and show what the trained network does with them.

    python scripts/quickstart.py prepare     photographs of scikit-image into datasets/quickstart/
    python scripts/quickstart.py report      table and image from experiments/dinoir_quickstart/

Between the two, BasicSR's own trainer runs options/train_dinoir_quickstart.yml.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import yaml
from basicsr.data import build_dataset
from basicsr.metrics.psnr_ssim import calculate_psnr
from basicsr.utils import tensor2img
from skimage import data

from dinoir_plugin import Restorer

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ROOT / 'options' / 'train_dinoir_quickstart.yml'
IMAGES = Path('datasets/quickstart')
EXPERIMENT = Path('experiments/dinoir_quickstart')
TILE = 200
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
    """Write tiles of nine photographs for training and eight crops of two other photographs for validation."""
    training = {
        'chelsea': data.chelsea(), 'coffee': data.coffee(), 'rocket': data.rocket(),
        'hubble': data.hubble_deep_field(), 'camera': data.camera(), 'coins': data.coins(), 'brick': data.brick(),
        'grass': data.grass(), 'gravel': data.gravel(),
    }  # fmt: skip
    heldout = {'astronaut': data.astronaut(), 'motorcycle': data.stereo_motorcycle()[0]}
    tiles = 0
    for name, image in training.items():
        # small files, because a patch costs the decoding of its whole file
        for top in range(0, image.shape[0] - TILE + 1, TILE):
            for left in range(0, image.shape[1] - TILE + 1, TILE):
                write(IMAGES / 'train' / f'{name}_{top}_{left}.png', image[top : top + TILE, left : left + TILE])
                tiles += 1
    for name, image in heldout.items():
        tops = (0, image.shape[0] - CROP_HEIGHT)
        lefts = (0, image.shape[1] - CROP_WIDTH)
        corners = [(top, left) for top in tops for left in lefts]
        for number, (top, left) in enumerate(corners):
            crop = image[top : top + CROP_HEIGHT, left : left + CROP_WIDTH]
            write(IMAGES / 'heldout' / f'{name}{number}.png', crop)
    print(f'{IMAGES}/: {tiles} tiles of {len(training)} photographs, 8 held-out crops of {len(heldout)} others')
    return 0


def write(path: Path, image: np.ndarray) -> None:
    """Write an RGB or grey uint8 image as a colour PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
    if not cv2.imwrite(str(path), colour[..., ::-1]):
        raise OSError(f'cannot write {path}')


def report() -> int:
    """Restore the held-out images with the trained network; print the table, write the image."""
    options = yaml.safe_load(OPTIONS.read_text())
    restorer = Restorer.from_checkpoint(EXPERIMENT / 'models' / 'net_g_latest.pth')
    dataset = build_dataset({**options['datasets']['val'], 'phase': 'val'})
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    rows: dict[str, list[np.ndarray]] = {}
    for item in dataset:
        restored = restorer.restore(item['lq'])
        degraded, result, target = (tensor2img(image) for image in (item['lq'], restored, item['gt']))
        scores[item['task']].append((psnr(degraded, target), psnr(result, target)))
        rows.setdefault(item['task'], [degraded, result, target])
    figure = EXPERIMENT / 'before_after.png'
    if not cv2.imwrite(str(figure), montage(list(rows.values()))):
        raise OSError(f'cannot write {figure}')
    failed = print_table(scores)
    encoder = options['network_g']['encoder']
    print(f"\nThe encoder's weights are {encoder['weights']} here: this shows that the machinery works, no more.")
    print(f'Before, after and target of each task: {figure.resolve()}')
    if failed:
        print(f'FAILED: no gain in {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0


def psnr(image: np.ndarray, target: np.ndarray) -> float:
    """PSNR in dB of two uint8 images, RGB."""
    return float(calculate_psnr(image, target, crop_border=0))


def print_table(scores: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Print mean PSNR before and after of each task; return the tasks without a gain."""
    print('\nPSNR on held-out photographs (dB, mean)\n')
    print(f'{"task":<10} {"images":>8} {"degraded":>9} {"restored":>9} {"gain":>7}')
    failed = []
    for task, pairs in scores.items():
        before, after = np.mean(pairs, axis=0)
        print(f'{task:<10} {len(pairs):>8} {before:>9.2f} {after:>9.2f} {after - before:>+7.2f}')
        if after <= before:
            failed.append(task)
    return failed


def montage(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Rows of equally large BGR images on white, headed degraded, restored, target."""
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
