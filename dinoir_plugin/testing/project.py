"""A four-task project on photographs of scikit-image, run by BasicSR's own trainer in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import yaml
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from skimage import data

from dinoir_plugin.imaging.decoding import Array

TRAINER = ('-m', 'basicsr.train')
FOLDERS = ('clean', 'rain', 'clear', 'hazy')
# a DINOv2 of four narrow blocks with random weights
TINY_ENCODER: dict[str, Any] = {
    'name': 'vit_small_patch14_dinov2',
    'weights': 'random',
    'layers': {'shallow': 0, 'medium': 1, 'deep': 3},
    'model_args': {'embed_dim': 48, 'depth': 4, 'num_heads': 3, 'init_values': 1.0},
}
TINY_BACKBONE: dict[str, Any] = {
    'type': 'Restormer',
    'dim': 8,
    'num_blocks': [1, 1, 1, 1],
    'num_refinement_blocks': 1,
    'heads': [1, 2, 4, 8],
}
TINY_NETWORK: dict[str, Any] = {
    'backbone': TINY_BACKBONE,
    'encoder': TINY_ENCODER,
    'guide_at': ['encoder_level*', 'latent', 'decoder_level*'],
    'psf': {'dim': 16},
}


def write(folder: Path, name: str, rgb: Array) -> None:
    """Write a uint8 image, RGB (H, W, 3), as ``folder/name.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f'{name}.png'), rgb[..., ::-1])


def make_images(root: Path) -> Path:
    """Make the folders clean, rain, clear and hazy (many to one), 96x96, and the same as LMDBs; return ``root``."""
    for number, image in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        crop = image[100:196, 150:246]
        write(root / 'clean', f'{number}', crop)
        wet = crop.copy()
        wet[:, :: 7 + number] = np.minimum(wet[:, :: 7 + number].astype(int) + 90, 255)
        write(root / 'rain', f'{number}', wet)
        write(root / 'clear', f'14{number:02d}', crop)
        for level in (1, 2):
            write(root / 'hazy', f'14{number:02d}_{level}', crop // 2 + 40 * level)
    for name in FOLDERS:
        files = sorted(path.name for path in (root / name).iterdir())
        stems = [file[:-4] for file in files]
        make_lmdb_from_imgs(str(root / name), str(root / f'{name}.lmdb'), files, stems, map_size=1 << 26)
    return root


def four_tasks(images: Path, suffix: str = '') -> dict[str, Any]:
    """Give the options of the four tasks on :func:`make_images`; ``suffix`` is ``.lmdb`` for the LMDBs."""
    roots = {name: str(images / f'{name}{suffix}') for name in FOLDERS}
    return {
        'denoise': {'dataroot_gt': roots['clean'], 'degradation': {'type': 'gaussian_noise', 'sigma': [15, 50]}},
        'deblur': {
            'dataroot_gt': roots['clean'],
            'degradation': {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]},
        },
        'derain': {'dataroot_gt': roots['clean'], 'dataroot_lq': roots['rain']},
        'dehaze': {'dataroot_gt': roots['clear'], 'dataroot_lq': roots['hazy'], 'pairing': 'reside'},
    }


class Finished(NamedTuple):
    """Hold how a run ended, and all that it said."""

    returncode: int
    log: str


class Project:
    """Hold a working directory with an options file.

    Args:
        folder: The working directory.
        images: See :func:`make_images`.
        network: Options of a DINOIRArch.
        suffix: See :func:`four_tasks`.
    """

    def __init__(self, folder: Path, images: Path, network: Mapping[str, Any], suffix: str = '') -> None:
        self.folder = folder
        self.options: dict[str, Any] = {
            'name': 'tiny',
            'model_type': 'DINOIRModel',
            'num_gpu': 'auto',
            'manual_seed': 5,
            'datasets': {
                'train': {
                    'name': 'all4', 'type': 'MixedDegradationDataset', 'tasks': four_tasks(images, suffix),
                    'gt_size': 32, 'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0,
                },
            },
            'network_g': {'type': 'DINOIRArch', **network},
            'path': {'pretrain_network_g': None, 'resume_state': None},
            'train': {
                'total_iter': 4,
                'ema_decay': 0.9,
                'grad_clip_norm': 1.0,
                'optim_g': {'type': 'AdamW', 'lr': 1.0e-3},
                'scheduler': {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5},
                'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
                'dpc_opt': {'type': 'DPCLoss', 'loss_weight': 0.01, 'layers': [1, 3]},
            },
            'logger': {'print_freq': 1, 'save_checkpoint_freq': 100, 'use_tb_logger': False},
        }  # fmt: skip

    @property
    def train(self) -> dict[str, Any]:
        """Give the options under ``train``."""
        return self.options['train']

    @property
    def data(self) -> dict[str, Any]:
        """Give the options of the training set."""
        return self.options['datasets']['train']

    def add_validation(self, **val: Any) -> None:
        """Validate on the training images; ``val`` goes into the options under that name."""
        tasks = {name: {**task} for name, task in self.data['tasks'].items()}
        self.options['datasets']['val'] = {'name': 'check', 'type': 'MixedDegradationDataset', 'tasks': tasks}
        metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
        self.options['val'] = {'val_freq': 100, 'save_img': True, 'metrics': metrics, **val}

    @property
    def models(self) -> Path:
        """Name the folder of the networks."""
        return self.folder / 'experiments' / 'tiny' / 'models'

    @property
    def states(self) -> Path:
        """Name the folder of the training states."""
        return self.folder / 'experiments' / 'tiny' / 'training_states'

    def start(self, *more: str, command: tuple[str, ...] = TRAINER, **options: Any) -> subprocess.Popen[str]:
        """Start the trainer in the folder, in a group of processes of its own; its output is piped.

        Args:
            *more: Further words for the trainer.
            command: What Python runs.
            **options: Passed on to ``Popen``.
        """
        (self.folder / 'options.yml').write_text(yaml.safe_dump(self.options))
        env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
        arguments = [sys.executable, *command, '-opt', 'options.yml', *more]
        return subprocess.Popen(
            arguments, cwd=self.folder, env=env, start_new_session=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options,
        )  # fmt: skip

    def run(self, *more: str, ok: bool = True, **options: Any) -> Finished:
        """Run the trainer in the folder to its end; arguments as :meth:`start`.

        Raises:
            RuntimeError: It failed, and ``ok`` says that it must not.
        """
        process = self.start(*more, **options)
        log, _ = process.communicate()
        if ok and process.returncode:
            raise RuntimeError(f'the trainer ended with status {process.returncode}:\n{log}')
        return Finished(process.returncode, log)


def logged(log: str, key: str) -> list[float]:
    """Read the values of one quantity from a trainer's log, in order."""
    return [float(value) for value in re.findall(rf'{re.escape(key)}: (\S+)', log)]
