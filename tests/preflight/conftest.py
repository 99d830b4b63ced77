"""A project on photographs for the tests of `dinoir check`."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from skimage import data

from dinoir_plugin.cli import main
from tests.preflight.checking import CLEAN, RAIN, table, write


@pytest.fixture(scope='module')
def photos():
    """Pairs of clean and streaky photographs, some of them larger than the others."""
    pairs = []
    for number, image in enumerate((data.astronaut(), data.coffee(), data.chelsea(), data.rocket())):
        clean = image[40 : 136 + 40 * number, 60 : 220 + 40 * number]
        wet = clean.copy()
        wet[:, :: 7 + number] = np.minimum(wet[:, :: 7 + number].astype(int) + 90, 255)
        pairs.append((clean, wet))
    return pairs


@pytest.fixture
def project(tmp_path, photos, tiny_run):
    """A folder with images, another one to work in, and options that a test may change before it writes them."""
    images, folder = tmp_path / 'images', tmp_path / 'work'
    folder.mkdir()
    for number, (clean, wet) in enumerate(photos):
        write(images / CLEAN / f'{number}.png', clean)
        write(images / RAIN / f'{number}.png', wet)
    clean, rain = images / CLEAN, images / RAIN
    options = tiny_run(clean, rain)
    train = options['datasets']['train']
    train.update(gt_size=64, stages=[{'iters': 2, 'gt_size': 32}, {'iters': 2}])
    held_out = {'derain': {'dataroot_gt': str(clean), 'dataroot_lq': str(rain)}}
    options['datasets']['val'] = {'name': 'held_out', 'type': 'MixedDegradationDataset', 'tasks': held_out}
    options['manual_seed'] = 3
    options['train'].update(total_iter=4, ema_decay=0.9)
    options['logger']['save_checkpoint_freq'] = 2
    return SimpleNamespace(images=images, folder=folder, options=options, train=train)


@pytest.fixture
def check(project, monkeypatch, capsys):
    """Runs the command in this process, in the project's folder; returns exit status and table by part."""
    monkeypatch.chdir(project.folder)

    def run(*more):
        file = project.images.parent / 'options.yml'
        file.write_text(yaml.safe_dump(project.options))
        status = main(['check', str(file), *more])
        out = capsys.readouterr().out
        return SimpleNamespace(status=status, out=out, rows=table(out))

    return run
