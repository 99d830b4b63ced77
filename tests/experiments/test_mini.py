"""The lists of the budget ``mini``."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from skimage import data

from dinoir_plugin.experiments import runs
from dinoir_plugin.experiments.variants import Experiments


@pytest.fixture
def rain(tmp_path):
    """Four pairs, the second and the fourth with more rain."""
    for number, share in enumerate((0.1, 0.4, 0.2, 0.3)):
        clean = data.astronaut()[:40, :50] // 2
        drops = np.random.default_rng(number).random((40, 50, 1)) < share
        for half, image in (('clean', clean), ('rain', np.where(drops, 255, clean).astype(np.uint8))):
            path = tmp_path / 'data' / 'rain100l' / 'test' / half / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return tmp_path / 'data'


def test_the_denser_half_of_rain100l_is_listed(rain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(Experiments(), 'mini', str(rain))
    tests = Experiments().budgets['mini']['tests']
    lists = {test: (tmp_path / tests[test]['derain']['meta_info_file']).read_text().split()
             for test in ('rain_high', 'rain_medium')}  # fmt: skip
    assert lists == {'rain_high': ['1', '3'], 'rain_medium': ['0', '2']}


def test_an_image_without_its_clean_one_is_named(rain, tmp_path):
    (rain / 'rain100l' / 'test' / 'clean' / '2.png').unlink()
    command = [sys.executable, '-m', 'dinoir_plugin.experiments.mini', str(rain)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and 'clean/2.png is missing or no image' in done.stderr
