"""What is pinned, measured on whatever tree is imported: a tiny project on photographs, run in processes of its own.

Nothing here imports the plugin by the names of its modules, so that these may move.
"""

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import yaml
from basicsr.archs import build_network
from PIL import Image
from skimage import data

HERE = Path(__file__).parent
TRAINER = ('-m', 'basicsr.train')
TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', *TRAINER)
# random weights are what timm draws from the plugin's seed: should timm draw others one day, the pins go with it
ENCODER = {
    'name': 'vit_small_patch14_dinov2',
    'weights': 'random',
    'layers': {'shallow': 0, 'medium': 1, 'deep': 3},
    'model_args': {'embed_dim': 48, 'depth': 4, 'num_heads': 3, 'init_values': 1.0},
}
RESTORMER = {'type': 'Restormer', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1}
GUIDE_AT = ['encoder_level*', 'latent', 'decoder_level*']
GUIDED = {'type': 'DINOIRArch', 'backbone': RESTORMER, 'encoder': ENCODER, 'guide_at': GUIDE_AT, 'psf': {'dim': 16}}
# so small that its checkpoints can lie beside the tests
SMALL = {
    **GUIDED,
    'backbone': {**RESTORMER, 'dim': 2, 'num_blocks': [0, 1, 1, 1], 'heads': [1, 2, 2, 4], 'ffn_expansion_factor': 2.0},
    'psf': {'dim': 8},
}
NAFNET = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}
GUIDED_NAFNET = {**GUIDED, 'backbone': NAFNET, 'guide_at': ['middle_blks', 'decoders.*']}
# without numbers, and so at full size
PLAIN = {
    'Restormer': {'type': 'Restormer'},
    'Restormer, BiasFree': {'type': 'Restormer', 'LayerNorm_type': 'BiasFree'},
    'Restormer, dual pixels': {'type': 'Restormer', 'inp_channels': 6, 'dual_pixel_task': True},
    'NAFNet': {'type': 'NAFNet'},
    'PromptIR': {'type': 'PromptIR', 'decoder': True},
    'DnCNN': {'type': 'DnCNN'},
    'FFDNet': {'type': 'FFDNet'},
}
TINY = {'DINOIRArch over Restormer': GUIDED, 'DINOIRArch over NAFNet': GUIDED_NAFNET}
# options file to what is forced, so that nothing is downloaded; and rows of its check of which all words count, or
# the verdict alone
OPTIONS = {
    'train_dinoir_all4.yml': ['network_g:encoder:weights=random'],
    'train_dinoir_quickstart.yml': [],
    'test_dinoir_all4.yml': ['network_g:encoder:weights=random'],
    'paper/train_dpc.yml': ['train:dpc_opt:encoder:weights=random'],
    'paper/train_nafnet_noise.yml': [],
}
WHOLE_ROWS = ('schema', 'model_type', 'train.optim_g', 'val')
VERDICTS = ('options', 'train.scheduler', 'train.pixel_opt', 'train.dpc_opt', 'train', 'network_g')


def machine():
    """What floating point and files depend on, down to the last digit; the same text means the same numbers."""
    cpuinfo = Path('/proc/cpuinfo')
    text = cpuinfo.read_text() if cpuinfo.is_file() else ''
    name = re.search(r'^model name\s*: (.*)$', text, flags=re.MULTILINE)
    flags = re.search(r'^flags\s*: (.*)$', text, flags=re.MULTILINE)
    wide = sorted(flag for flag in (flags[1].split() if flags else ()) if flag.startswith(('avx', 'amx', 'fma')))
    packages = ('torch', 'timm', 'numpy', 'scikit-image', 'opencv-python', 'pillow')
    return {
        'cpu': f'{name[1] if name else platform.processor()}, {" ".join(wide)}',
        'capability': torch.backends.cpu.get_cpu_capability(),
        # builds of torch for CUDA and for the CPU alone are different ones
        **{package: torch.__version__ if package == 'torch' else version(package) for package in packages},
    }


def shapes():
    """Of each network the keys of its state dict, each with its shape such as ``48x3x3x3``."""
    states = {}
    with torch.device('meta'):
        states.update((name, build_network(options).state_dict()) for name, options in PLAIN.items())
    states.update((name, build_network(options).state_dict()) for name, options in TINY.items())
    return {name: {key: 'x'.join(map(str, value.shape)) for key, value in state.items()}
            for name, state in states.items()}  # fmt: skip


def write_image(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def write_photos(root):
    """Folders clean, rain, clear and hazy with photographs of 96x96, hazy with two for each of clear."""
    for number, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        clean = photo[120:216, 160:256]
        rain = clean.astype(int)
        rain[:, :: 6 + number] += 80
        write_image(root / 'clean' / f'{number}.png', clean)
        write_image(root / 'rain' / f'{number}.png', rain.clip(0, 255).astype(np.uint8))
        write_image(root / 'clear' / f'{number:04d}.png', clean)
        for airlight in (180, 240):
            write_image(root / 'hazy' / f'{number:04d}_{airlight}.png', clean // 2 + airlight // 2)
    return root


def project(photos, network, **train):
    """Options of a run of 20 iterations over four tasks, with validation at its end."""
    clean, rain, clear, hazy = (str(photos / name) for name in ('clean', 'rain', 'clear', 'hazy'))
    blur = {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]}
    tasks = {
        'denoise': {'dataroot_gt': clean, 'degradation': {'type': 'gaussian_noise', 'sigma': [15, 50]}},
        'deblur': {'dataroot_gt': clean, 'degradation': blur},
        'derain': {'dataroot_gt': clean, 'dataroot_lq': rain},
        'dehaze': {'dataroot_gt': clear, 'dataroot_lq': hazy, 'pairing': 'reside'},
    }
    kind = {'type': 'MixedDegradationDataset', 'tasks': tasks}
    patches = {'gt_size': 32, 'use_hflip': True, 'use_rot': True, 'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0}
    metrics = {name: {'type': f'calculate_{name}', 'crop_border': 0} for name in ('psnr', 'ssim')}
    losses = {
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        'dpc_opt': {'type': 'DPCLoss', 'loss_weight': 0.01, 'layers': [1, 3]},
    }
    steps = {
        'total_iter': 20, 'warmup_iter': 3, 'ema_decay': 0.9, 'grad_clip_norm': 1.0,
        'optim_g': {'type': 'AdamW', 'lr': 1.0e-3},
        'scheduler': {'type': 'MultiStepLR', 'milestones': [10], 'gamma': 0.5},
    }  # fmt: skip
    return {
        'name': 'tiny', 'model_type': 'DINOIRModel', 'num_gpu': 'auto', 'manual_seed': 7,
        'datasets': {'train': {'name': 'all4', **kind, **patches}, 'val': {'name': 'check', **kind}},
        'network_g': network,
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {**steps, **losses, **train},
        'val': {'val_freq': 100, 'save_img': False, 'metrics': metrics},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 3, 'use_tb_logger': False},
    }  # fmt: skip


def python(folder, *words):
    """Run Python in a folder, on one thread and without a GPU; returns its status and all that it wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
    words = [sys.executable, *map(str, words)]
    done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def train(folder, options, *more, command=TRAINER):
    """Run BasicSR's trainer; returns its folder of the run and the lines of the log, a dict of texts for each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'options.yml').write_text(yaml.safe_dump(options, sort_keys=False))
    status, log = python(folder, *command, '-opt', 'options.yml', *more)
    assert status == 0, log
    rows = []
    for number, rates, rest in re.findall(r'\[epoch:.*?, iter: *([\d,]+), lr:\((.*?),\)\](.*)', log):
        rows.append({'iter': number, 'lr': rates, **dict(re.findall(r'(\S+): (\S+)', rest.rpartition('] ')[2]))})
    return folder / 'experiments' / options['name'], rows


def train_on_two_ranks(folder, options):
    """Five iterations of the same batches, half of each on a rank, whose loader has a process of its own."""
    patches = {**options['datasets']['train'], 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 1}
    options = {**options, 'datasets': {'train': patches}, 'train': {**options['train'], 'total_iter': 5}}
    options.pop('val')
    return train(folder, options, '--launcher', 'pytorch', command=TORCHRUN)[1]


def go_on_from_pinned_state(folder, options):
    """From iteration 2, whose files lie here, to iteration 4."""
    run = folder / 'experiments' / options['name']
    for name, place in (('net_g_2.pth', 'models'), ('2.state', 'training_states')):
        (run / place).mkdir(parents=True)
        (run / place / name).write_bytes((HERE / name).read_bytes())
    options = {**options, 'train': {**options['train'], 'total_iter': 4}}
    return train(folder, options, '--auto_resume')[1]


def restore(source, target, *more):
    """Run ``dinoir restore`` with the pinned network."""
    words = ('--checkpoint', HERE / 'net_g.pth', '--device', 'cpu', '--quiet', *more)
    status, output = python(target.parent, '-m', 'dinoir_plugin', 'restore', source, target, *words)
    assert status == 0, output


def write_large(path):
    """A photograph that is more than one tile."""
    write_image(path, data.coffee()[100:292, 200:444])


def check(name, folder):
    """What ``dinoir check`` says about a pinned options file: rows by their part."""
    forced = ['--force_yml', *OPTIONS[name]] if OPTIONS[name] else []
    _, output = python(folder, '-m', 'dinoir_plugin', 'check', HERE / 'options' / name, '--out', folder, *forced)
    assert 'Traceback' not in output and 'unknown option' not in output, output
    found = re.findall(r'^(\S.*?) {2,}(ok|warning|error|not checked)\b *(.*)$', output, flags=re.MULTILINE)
    rows = {part: [verdict, looked] for part, verdict, looked in found}
    assert rows['schema'][0] == 'ok', output
    return {**{part: rows[part] for part in WHOLE_ROWS if part in rows},
            **{part: rows[part][:1] for part in VERDICTS if part in rows}}  # fmt: skip


def measured(run):
    """The figures of a run's validation: iteration, means by task, and those of each image."""
    content = json.loads((run / 'metrics_check.json').read_text())
    images = next(value for value in content.values() if isinstance(value, list))
    for image in images:
        image.pop('input', None)  # of the data alone
    return {'iteration': content['iteration'], 'means': content['means'], 'images': images}
