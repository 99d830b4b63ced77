"""A four-task project on photographs of scikit-image, run by BasicSR's own trainer in processes of its own."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import yaml
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from skimage import data

TRAINER = ('-m', 'basicsr.train')


def write(folder, name, rgb):
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f'{name}.png'), rgb[..., ::-1])


def make_images(root):
    """Folders clean, rain, clear and hazy (many to one), 96x96, and the same as LMDBs."""
    for number, image in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        crop = image[100:196, 150:246]
        write(root / 'clean', f'{number}', crop)
        wet = crop.copy()
        wet[:, :: 7 + number] = np.minimum(wet[:, :: 7 + number].astype(int) + 90, 255)
        write(root / 'rain', f'{number}', wet)
        write(root / 'clear', f'14{number:02d}', crop)
        for level in (1, 2):
            write(root / 'hazy', f'14{number:02d}_{level}', crop // 2 + 40 * level)
    for name in ('clean', 'rain', 'clear', 'hazy'):
        files = sorted(path.name for path in (root / name).iterdir())
        stems = [file[:-4] for file in files]
        make_lmdb_from_imgs(str(root / name), str(root / f'{name}.lmdb'), files, stems, map_size=1 << 26)
    return root


class Project:
    """A working directory with an options file."""

    def __init__(self, folder, images, network, suffix=''):
        self.folder = folder
        roots = {name: str(images / f'{name}{suffix}') for name in ('clean', 'rain', 'clear', 'hazy')}
        tasks = {
            'denoise': {'dataroot_gt': roots['clean'], 'degradation': {'type': 'gaussian_noise', 'sigma': [15, 50]}},
            'deblur': {
                'dataroot_gt': roots['clean'],
                'degradation': {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]},
            },
            'derain': {'dataroot_gt': roots['clean'], 'dataroot_lq': roots['rain']},
            'dehaze': {'dataroot_gt': roots['clear'], 'dataroot_lq': roots['hazy'], 'pairing': 'reside'},
        }
        self.options = {
            'name': 'tiny',
            'model_type': 'DINOIRModel',
            'num_gpu': 'auto',
            'manual_seed': 5,
            'datasets': {
                'train': {
                    'name': 'all4', 'type': 'MixedDegradationDataset', 'tasks': tasks, 'gt_size': 32,
                    'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0,
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
    def train(self):
        return self.options['train']

    @property
    def data(self):
        return self.options['datasets']['train']

    def add_validation(self, **val):
        tasks = {name: {**task} for name, task in self.data['tasks'].items()}
        self.options['datasets']['val'] = {'name': 'check', 'type': 'MixedDegradationDataset', 'tasks': tasks}
        metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
        self.options['val'] = {'val_freq': 100, 'save_img': True, 'metrics': metrics, **val}

    @property
    def models(self):
        return self.folder / 'experiments' / 'tiny' / 'models'

    @property
    def states(self):
        return self.folder / 'experiments' / 'tiny' / 'training_states'

    def start(self, *more, command=TRAINER, **options):
        """Start the trainer in the folder, in a group of processes of its own; its output is piped."""
        (self.folder / 'options.yml').write_text(yaml.safe_dump(self.options))
        env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
        arguments = [sys.executable, *command, '-opt', 'options.yml', *more]
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
        return subprocess.Popen(arguments, cwd=self.folder, env=env, start_new_session=True, **pipes, **options)

    def run(self, *more, ok=True, **options):
        """Run the trainer in the folder; returns the finished process, its log in ``.log``."""
        done = self.start(*more, **options)
        done.log, _ = done.communicate()
        assert not ok or done.returncode == 0, done.log
        return done


def logged(log, key):
    """The values of one quantity in a trainer's log, in order."""
    return [float(value) for value in re.findall(rf'{re.escape(key)}: (\S+)', log)]
