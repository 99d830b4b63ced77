"""What a run needs beside its options: packages, a GPU, a compiler; and what BasicSR makes of its name."""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.preflight.check_item import CheckItem

DEBUG = 'debug'
TENSORBOARD = 'logger.use_tb_logger'
COMPILERS = ('g++', 'clang++', 'cl')


def uses_gpu(num_gpu: object) -> bool:
    """Tell whether a run with this ``num_gpu`` is made on a GPU here."""
    return num_gpu != 0 and torch.cuda.is_available()


def needs_items(opt: Mapping[str, Any], is_train: bool) -> list[CheckItem]:
    """List the checks of what a training run needs beside its options."""
    if not is_train:
        return []
    items = []
    if DEBUG in str(opt.get('name')):
        items.append(CheckItem('name', lambda: _check_name(str(opt['name']))))
    if isinstance(opt.get('logger'), Mapping):
        items.append(CheckItem('logger', lambda: _check_logger(opt['logger'], str(opt.get('name')))))
    data = opt['datasets'].get('train') or {}
    if data.get('prefetch_mode') == 'cuda':
        items.append(CheckItem('datasets.train.prefetch_mode', lambda: _check_prefetch(opt['num_gpu'])))
    if (opt.get('train') or {}).get('compile'):
        items.append(CheckItem('train.compile', lambda: _check_compiler(opt['num_gpu'])))
    return items


def _check_name(name: str) -> str:
    """Say what BasicSR does to a run with this word anywhere in its name."""
    warnings.warn(
        f"name: as '{name}' has '{DEBUG}' in it, BasicSR logs every iteration, validates and saves every 8, and writes "
        'no files for TensorBoard or wandb, whatever the options say', stacklevel=2,
    )  # fmt: skip
    return name


def _check_logger(logger: Mapping[str, Any], name: str) -> str:
    """Look for the packages of the loggers that are asked for."""
    if DEBUG in name:
        return 'the log alone'
    asked = ['the log']
    project = (logger.get('wandb') or {}).get('project')
    if project is not None and not logger.get('use_tb_logger'):
        raise OptionsError(TENSORBOARD, 'wandb gets its figures from TensorBoard, which is off', 'Write true, or leave '
                           'logger.wandb out')
    if logger.get('use_tb_logger'):
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: F401 - whether it can be had
        except ImportError as error:
            problem = f'TensorBoard cannot be imported ({error})'
            raise OptionsError(TENSORBOARD, problem, 'Run: pip install "dinoir_plugin[tensorboard]"') from error
        asked.append('TensorBoard')
    if project is not None:
        spec = importlib.util.find_spec('wandb')
        # a folder of that name, which wandb itself leaves behind, is found too, and is no package
        if spec is None or spec.origin is None:
            raise OptionsError('logger.wandb.project', 'wandb is not installed', 'Run: pip install wandb')
        asked.append('wandb')
    return ', '.join(asked)


def _check_prefetch(num_gpu: object) -> str:
    if not uses_gpu(num_gpu):
        problem = 'cuda prepares batches on a GPU, and this run has none'
        raise OptionsError('datasets.train.prefetch_mode', problem, 'Write cpu, or leave it out')
    return 'cuda'


def _check_compiler(num_gpu: object) -> str:
    if uses_gpu(num_gpu):
        return 'for the GPU'
    found = next(filter(None, map(shutil.which, (os.environ.get('CXX') or COMPILERS[0], *COMPILERS))), None)
    if found is None:
        problem = 'torch compiles for the CPU with a C++ compiler, and there is none'
        raise OptionsError('train.compile', problem, 'Install one (g++), or write false')
    return found
