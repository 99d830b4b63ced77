"""Small releases made of scikit-image's photographs, and what reads the roots made from them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from basicsr.utils.file_client import FileClient
from skimage import data

from dinoir_plugin.data.sources import open_source
from dinoir_plugin.datasets.prepare import Request


@pytest.fixture(scope='session')
def photograph():
    """Cuts a window of a photograph, another one for every number; BGR."""
    images = [image[..., ::-1] for image in (data.astronaut(), data.chelsea(), data.coffee())]

    def cut(number, height=40, width=60):
        image = images[number % len(images)]
        top = number * 7 % (image.shape[0] - height)
        left = number * 11 % (image.shape[1] - width)
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    return cut


@pytest.fixture
def write(tmp_path):
    """Writes an image below tmp_path/release and returns its path."""

    def write_image(name, image):
        path = tmp_path / 'release' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
        return path

    return write_image


@pytest.fixture
def request_for(tmp_path):
    """A request for tmp_path/release, incomplete, with one worker and an LMDB that begins with a single megabyte."""

    def build(*sources, **options):
        sources = sources or (tmp_path / 'release',)
        options = {'out': tmp_path / 'out', 'workers': 1, 'partial': True, 'map_size': 1 << 20, **options}
        return Request(sources=[Path(source) for source in sources], **options)

    return build


@pytest.fixture
def read_root():
    """All images of a root by key, as BasicSR's FileClient gives them; its meta file must say the same."""

    def read(root):
        source = open_source(str(root), 'x')
        client = FileClient('lmdb', db_paths=str(root), client_keys='images')
        images = {}
        for number, key in enumerate(source.keys):
            content = np.frombuffer(client.get(key, 'images'), np.uint8)
            images[key] = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
            assert images[key].shape == (*source.size(number), 3)
        return images

    return read


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, 'w') as archive:
        for path in sorted(folder.rglob('*')):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return target


@pytest.fixture
def zip_release(tmp_path):
    """Packs tmp_path/release under a name."""
    return lambda name: zipped(tmp_path / 'release', tmp_path / name)
