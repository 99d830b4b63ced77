"""What the data tests share beside fixtures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 150, 200


def write(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)


def make_lmdb(folder: Path) -> str:
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    names = sorted(path.name for path in folder.iterdir())
    target = f'{folder}.lmdb'
    # The default map size is ten times the first image's share, too little for unlike images.
    make_lmdb_from_imgs(str(folder), target, names, [name[:-4] for name in names], map_size=1 << 26)
    return target
