"""A small denoising run as users write one, trained in this process or in processes of their own."""

import contextlib
import copy
import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import basicsr
import cv2
import numpy as np
import pytest
import yaml
from basicsr.train import train_pipeline
from skimage import data

from dinoir_plugin.cli import main
from dinoir_plugin.plugin import hooks

ROOT = str(Path(basicsr.__file__).absolute().parent.parent)
PAIRS = {'dataroot_gt': 'data/clean', 'dataroot_lq': 'data/noisy'}
OPTIONS = {
    'name': 'run',
    'model_type': 'DINOIRModel',
    'num_gpu': 'auto',
    'manual_seed': 10,
    'datasets': {
        'train': {'name': 'tr', 'type': 'MixedDegradationDataset', 'tasks': {'denoise': PAIRS}, 'gt_size': 32,
                  'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0},
        'val': {'name': 'va', 'type': 'MixedDegradationDataset', 'tasks': {'denoise': PAIRS}},
    },
    'network_g': {'type': 'DnCNN', 'nc': 8, 'nb': 3, 'act_mode': 'R'},
    'path': {},
    'train': {
        'total_iter': 6,
        'optim_g': {'type': 'Adam', 'lr': 0.001},
        'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'restart_weights': [1], 'eta_min': 1e-06},
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    },
    'val': {'val_freq': 3, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 3, 'use_tb_logger': False},
}  # fmt: skip


@pytest.fixture
def options():
    return copy.deepcopy(OPTIONS)


def write_images(root):
    rng = np.random.default_rng(0)
    for number in range(8):
        image = data.astronaut()[number * 40 : number * 40 + 40, 100:148]
        noisy = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)
        for name, pixels in (('clean', image), ('noisy', noisy)):
            (root / 'data' / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / 'data' / name / f'{number}.png'), pixels[..., ::-1])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with pairs of images; BasicSR is left as it was."""
    write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield tmp_path
    sys.excepthook = before[0]
    signal.signal(signal.SIGTERM, before[1])
    hooks.set_up({}, ours=False)


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture
def train(folder, monkeypatch):
    """Runs the trainer in this process: what it ended with (None where it came to its end) and all that it said.

    ``pipeline`` may be that of the tester.
    """

    def run(options, *more, pipeline=train_pipeline):
        text = options if isinstance(options, str) else yaml.safe_dump(options)
        Path('o.yml').write_text(text)
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', 'o.yml', *more])
        lines, out, code = Lines(), io.StringIO(), None
        logger = logging.getLogger('basicsr')
        logger.setLevel(logging.INFO)
        logger.addHandler(lines)
        try:
            with contextlib.redirect_stdout(out), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                pipeline(ROOT)
        except SystemExit as error:
            code = error.code
        finally:
            logger.removeHandler(lines)
        said = [*lines.lines, out.getvalue(), *(str(warning.message) for warning in caught)]
        return SimpleNamespace(code=code, log='\n'.join(said))

    return run


@pytest.fixture
def dinoir(folder, capsys):
    """Runs a command in this process: its status and what it wrote."""

    def run(*words):
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out + captured.err)

    return run


@pytest.fixture
def check(dinoir):
    """Runs `dinoir check` on options."""

    def run(options, *more):
        Path('o.yml').write_text(options if isinstance(options, str) else yaml.safe_dump(options))
        return dinoir('check', 'o.yml', *more)

    return run


def in_process(folder, options, *more, ranks=0):
    """Run the trainer in processes of its own."""
    (folder / 'o.yml').write_text(yaml.safe_dump(options))
    launcher = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(ranks)) if ranks else ()
    command = [sys.executable, *launcher, '-m', 'basicsr.train', '-opt', 'o.yml', *more]
    command += ['--launcher', 'pytorch'] if ranks else []
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return SimpleNamespace(code=done.returncode, log=done.stdout + done.stderr)
