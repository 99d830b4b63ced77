"""A tiny project of BasicSR's own, with no class of the plugin in it, and a source checkout to run it from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml
from skimage import data

OPTIONS = """
name: tiny
model_type: SRModel
scale: 4
num_gpu: auto
manual_seed: 3
datasets:
  train: {name: train, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk},
    gt_size: 32, use_hflip: true, use_rot: true, num_worker_per_gpu: 1, batch_size_per_gpu: 2}
network_g: {type: MSRResNet, num_in_ch: 3, num_out_ch: 3, num_feat: 4, num_block: 1, upscale: 4}
path: {pretrain_network_g: ~, strict_load_g: true, resume_state: ~}
train:
  ema_decay: 0.9
  optim_g: {type: Adam, lr: !!float 1e-4, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [2], gamma: 0.5}
  total_iter: 4
  pixel_opt: {type: L1Loss}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: true}
"""


class ForeignProject:
    """A folder with images and an options file, where BasicSR's trainer is run."""

    def __init__(self, folder):
        self.folder = folder
        self.options = yaml.safe_load(OPTIONS)
        image = data.astronaut()
        for name in ('gt', 'lq'):
            (folder / name).mkdir()
        for index in range(6):
            gt = image[index * 64 : index * 64 + 64, 100:164, ::-1]
            cv2.imwrite(str(folder / 'gt' / f'{index}.png'), gt)
            cv2.imwrite(str(folder / 'lq' / f'{index}.png'), cv2.resize(gt, (16, 16), interpolation=cv2.INTER_AREA))

    def run(self, *command, more=(), **env):
        """Run ``python <command> -opt options.yml <more>`` without a GPU and give back the finished process."""
        (self.folder / 'options.yml').write_text(yaml.safe_dump(self.options))
        env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1', **env}
        arguments = [sys.executable, *map(str, command), '-opt', 'options.yml', *more]
        return subprocess.run(arguments, cwd=self.folder, env=env, capture_output=True, text=True)

    def folders(self):
        return {path.name for path in self.folder.iterdir() if path.is_dir()} - {'gt', 'lq'}


@pytest.fixture
def project(tmp_path):
    return ForeignProject(tmp_path)


@pytest.fixture(scope='session')
def installed():
    """The folder of the installed BasicSR package, found without importing it."""
    return Path(next(path for path in map(Path, sys.path) if (path / 'basicsr' / 'train.py').is_file()), 'basicsr')


@pytest.fixture(scope='session')
def checkout(installed, tmp_path_factory):
    """A BasicSR source checkout: the installed package's files in a folder of their own, as in the repository."""
    folder = tmp_path_factory.mktemp('checkout')
    shutil.copytree(installed, folder / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    return folder
