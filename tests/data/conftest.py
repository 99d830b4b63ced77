"""Small sets of real photographs (scikit-image's), as folders and as LMDBs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from conftest_data import HEIGHT, WIDTH, make_lmdb, write
from skimage import data as photos

import dinoir_plugin  # noqa: F401 - arms the hook that mends BasicSR's import


@pytest.fixture(scope='session')
def clean_images() -> dict[str, np.ndarray]:
    """uint8, shape (150, 200, 3), RGB."""
    left, _, _ = photos.stereo_motorcycle()
    whole = {
        'astronaut': photos.astronaut(),
        'chelsea': photos.chelsea(),
        'coffee': photos.coffee(),
        'motorcycle': left,
        'rocket': photos.rocket(),
    }
    return {name: np.ascontiguousarray(image[100:100 + HEIGHT, 120:120 + WIDTH]) for name, image in whole.items()}


@pytest.fixture(scope='session')
def disparity() -> np.ndarray:
    """float32, shape (150, 200): the motorcycle's disparity with its holes (infinite)."""
    return np.ascontiguousarray(photos.stereo_motorcycle()[2][100:100 + HEIGHT, 120:120 + WIDTH])


@pytest.fixture(scope='session')
def sets(tmp_path_factory, clean_images, disparity) -> SimpleNamespace:
    """Paths of folders: clean, rain (paired by name), hazy and clear (many to one), depth; and of their LMDBs."""
    root = tmp_path_factory.mktemp('sets')
    for name, image in clean_images.items():
        write(root / 'clean' / f'{name}.png', image)
    for number, image in enumerate(list(clean_images.values())[:3]):
        write(root / 'dry' / f'{number:03d}.png', image)
        write(root / 'rain' / f'{number:03d}.png', np.maximum(image, 40))
        write(root / 'clear' / f'{1400 + number}.png', image)
        for beta in ('0.8_0.2', '1_0.16'):
            write(root / 'hazy' / f'{1400 + number}_{beta}.png', image // 2 + 100)
    (root / 'depth').mkdir()
    np.save(root / 'depth' / 'motorcycle.npy', disparity)
    lmdbs = {f'{name}_lmdb': make_lmdb(root / name) for name in ('clean', 'dry', 'rain', 'clear', 'hazy')}
    return SimpleNamespace(
        root=root, **{name: str(root / name) for name in ('clean', 'dry', 'rain', 'clear', 'hazy', 'depth')}, **lmdbs
    )


@pytest.fixture
def options(sets):
    """Makes the options of the four-task training set; keywords replace top-level keys."""

    def make(lmdb: bool = False, **changes):
        def root(name):
            return getattr(sets, f'{name}_lmdb' if lmdb else name)

        return {
            'name': 'all4',
            'type': 'MixedDegradationDataset',
            'phase': 'train',
            'tasks': {
                'denoise': {'dataroot_gt': root('clean'), 'degradation': {'type': 'gaussian_noise', 'sigma': [15, 50]}},
                'deblur': {
                    'dataroot_gt': root('clean'),
                    'degradation': {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]},
                },
                'derain': {'dataroot_gt': root('dry'), 'dataroot_lq': root('rain')},
                'dehaze': {'dataroot_gt': root('clear'), 'dataroot_lq': root('hazy'), 'pairing': 'reside'},
            },
            'gt_size': 48,
            'batch_size_per_gpu': 4,
            'num_worker_per_gpu': 0,
            'dataset_enlarge_ratio': 1,
            'seed': 7,
            **changes,
        }

    return make
