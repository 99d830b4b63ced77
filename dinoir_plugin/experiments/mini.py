"""The lists that the budget ``mini`` needs: which of Rain100L's test images are the denser half.

python -m dinoir_plugin.experiments.mini FOLDER    experiments/reproduce/mini_rain_{high,medium}.txt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.console import GOOD
from dinoir_plugin.datasets.densities import amount, by_amount
from dinoir_plugin.experiments.measured import FOLDER
from dinoir_plugin.imaging.decoding import Array

LEVELS = ('high', 'medium')


def main() -> int:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='the folder that --data names')
    folder = parser.parse_args().data / 'rain100l' / 'test'
    amounts = {
        path.stem: amount(_image(path), _image(folder / 'clean' / path.name))
        for path in sorted((folder / 'rain').iterdir())
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for level, names in by_amount(amounts, LEVELS).items():
        write_atomic(FOLDER / f'mini_rain_{level}.txt', ''.join(f'{name}\n' for name in names).encode())
    return GOOD


def _image(path: Path) -> Array:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f'{path} is missing or no image')
    return image


if __name__ == '__main__':
    sys.exit(main())
