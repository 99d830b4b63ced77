"""Which keys an options file of the plugin may have, and what kind of value each takes.

The tables hold what BasicSR's trainer and :class:`DINOIRModel` read. Blocks that name a ``type`` (networks, losses,
data sets, schedulers, optimizers, metrics) are checked against the signature of that type in ``builds``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dinoir_plugin.core.errors import OptionsError, is_folder_name, unknown_option

NUMBER_TEXT = re.compile(r'[+-]?\d+(\.\d*)?[eE][+-]?\d+')


@dataclass(frozen=True)
class Key:
    """What one option takes.

    Attributes:
        kind: ``text``, ``count`` (whole number from 1), ``whole`` (whole number), ``number``, ``flag``, ``block``,
            ``gpus`` (``auto`` or a whole number from 0), ``precision``, ``names`` (a list of texts), ``nonfinite``,
            ``folder`` (text that names a folder and no path), or ``any``.
        required: When it must be there: always (True), never (False), or in ``'train'`` or ``'test'`` only.
        nullable: Whether an empty value (``resume_state: ~``) means that it is left out. BasicSR asks for None at some
            keys only; elsewhere an empty value ends in a traceback, or in another meaning.
        block: For a block with fixed keys, these.
    """

    kind: str
    required: bool | str = False
    nullable: bool = False
    block: Mapping[str, Key] | None = None


TEXT, COUNT, WHOLE, NUMBER, FLAG, BLOCK = (Key(k) for k in ('text', 'count', 'whole', 'number', 'flag', 'block'))
OPTIONAL_TEXT = Key('text', nullable=True)
OPTIONAL_BLOCK = Key('block', nullable=True)
TRAIN_COUNT = Key('count', required='train')
TRAIN_BLOCK = Key('block', required='train')

PATHS = {
    'pretrain_network_g': OPTIONAL_TEXT,
    'strict_load_g': FLAG,
    'param_key_g': TEXT,
    'resume_state': OPTIONAL_TEXT,
    'ignore_resume_networks': Key('any', nullable=True),
    'experiments_root': TEXT,
    'results_root': TEXT,
}
TRAIN = {
    'total_iter': TRAIN_COUNT,
    'warmup_iter': WHOLE,
    'ema_decay': NUMBER,
    'grad_clip_norm': NUMBER,
    'optim_g': TRAIN_BLOCK,
    'scheduler': TRAIN_BLOCK,
    'pixel_opt': TRAIN_BLOCK,
    'perceptual_opt': OPTIONAL_BLOCK,
    'dpc_opt': OPTIONAL_BLOCK,
    'amp': Key('precision'),
    'compile': FLAG,
    'channels_last': FLAG,
    'checkpointing': Key('names', nullable=True),
    'on_nonfinite': Key('nonfinite'),
}
VAL = {
    'val_freq': TRAIN_COUNT,
    'save_img': Key('flag', required=True),
    'pbar': FLAG,
    'tile': COUNT,
    'tile_overlap': WHOLE,
    'suffix': OPTIONAL_TEXT,
    'metrics': OPTIONAL_BLOCK,
}
LOGGER = {
    'print_freq': TRAIN_COUNT,
    'save_checkpoint_freq': TRAIN_COUNT,
    'keep_last': COUNT,
    'use_tb_logger': Key('flag', required='train'),
    'wandb': Key('block', nullable=True, block={'project': OPTIONAL_TEXT, 'resume_id': OPTIONAL_TEXT}),
}
TOP = {
    'name': Key('folder', required=True),
    'model_type': Key('text', required=True),
    'scale': COUNT,
    'num_gpu': Key('gpus', required=True),
    'manual_seed': Key('whole', nullable=True),
    'find_unused_parameters': FLAG,
    'dist_params': Key('block', block={'backend': TEXT, 'port': COUNT}),
    'datasets': Key('block', required=True),
    'network_g': Key('block', required=True),
    'path': Key('block', required=True, block=PATHS),
    'train': Key('block', required='train', block=TRAIN),
    'val': Key('block', required='test', block=VAL),
    'logger': Key('block', required='train', block=LOGGER),
}


def check_schema(opt: Mapping[str, Any], is_train: bool) -> None:
    """Check the keys and kinds of an options file as it is written, before BasicSR reads it.

    Args:
        opt: The parsed YAML.
        is_train: Whether it is for train.py or for test.py.

    Raises:
        OptionsError: For the first option that is unknown, missing or of the wrong kind.
    """
    for problem in schema_problems(opt, is_train):
        raise problem


def schema_problems(opt: Mapping[str, Any], is_train: bool) -> Iterator[OptionsError]:
    """All that :func:`check_schema` would refuse, one after the other."""
    yield from _number_texts(opt, '')
    yield from _block_problems(opt, TOP, '', is_train)
    datasets = opt.get('datasets')
    if not isinstance(datasets, Mapping):
        return
    for phase, dataset in datasets.items():
        yield from _dataset_problems(phase, dataset, is_train)
    if is_train and 'train' not in datasets:
        yield OptionsError('datasets.train', 'this key is required, but missing')


def _dataset_problems(phase: object, dataset: Any, is_train: bool) -> Iterator[OptionsError]:
    path = f'datasets.{phase}'
    name = str(phase)
    if is_train and name != 'train' and name.split('_')[0] != 'val':
        yield OptionsError(path, f'expected train, val or val_<anything>, got {phase!r}')
    if not is_train and name.split('_')[0] not in ('val', 'test'):
        yield OptionsError(path, f'expected test, val, or one of these and _<anything>, got {phase!r}')
    if not isinstance(dataset, Mapping):
        yield from _kind_problem(dataset, BLOCK, path)
        return
    for key, kind in (('name', 'folder'), ('type', 'text')):
        yield from _kind_problem(dataset.get(key), Key(kind), f'{path}.{key}')


def _block_problems(
    block: Mapping[str, Any], keys: Mapping[str, Key], path: str, is_train: bool
) -> Iterator[OptionsError]:
    for name, value in block.items():
        full = f'{path}.{name}' if path else str(name)
        key = keys.get(name)
        if key is None:
            yield unknown_option(name, keys, path)
            continue
        if value is None and key.nullable:
            continue
        wrong = list(_kind_problem(value, key, full))
        yield from wrong
        if key.block is not None and not wrong:
            yield from _block_problems(value, key.block, full, is_train)
    for name, key in keys.items():
        if name not in block and key.required in (True, 'train' if is_train else 'test'):
            yield OptionsError(f'{path}.{name}' if path else name, 'this key is required, but missing')


def _kind_problem(value: Any, key: Key, path: str) -> Iterator[OptionsError]:
    # BasicSR's own files write iterations as `!!float 5e3`
    whole = not isinstance(value, bool) and isinstance(value, (int, float)) and value == value // 1
    fits, expected = {
        'text': (isinstance(value, str), 'text'),
        'count': (whole and value > 0, 'a whole number from 1'),
        'whole': (whole, 'a whole number'),
        'number': (whole or isinstance(value, float), 'a number'),
        'flag': (isinstance(value, bool), 'true or false'),
        'block': (isinstance(value, Mapping), 'a block of options'),
        'gpus': (value == 'auto' or (whole and value >= 0), "'auto' or a whole number from 0"),
        # YAML reads a bare `off` as false
        'precision': (value is False or value in ('off', 'bf16', 'fp16'), 'off, bf16 or fp16'),
        'names': (isinstance(value, list) and all(isinstance(entry, str) for entry in value), 'a list of names'),
        'nonfinite': (value in ('stop', 'skip'), 'stop or skip'),
        'folder': (isinstance(value, str) and is_folder_name(value), 'the name of a folder, not a path'),
        'any': (True, ''),
    }[key.kind]
    if not fits:
        yield OptionsError(path, f'expected {expected}, got {value!r}')


def _number_texts(value: Any, path: str) -> Iterator[OptionsError]:
    """Refuse texts such as '1e-4', which a person meant as a number and YAML 1.1 reads as text."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _number_texts(entry, f'{path}.{name}' if path else str(name))
    elif isinstance(value, (list, tuple)):
        for number, entry in enumerate(value):
            yield from _number_texts(entry, f'{path}[{number}]')
    elif isinstance(value, str) and NUMBER_TEXT.fullmatch(value):
        yield OptionsError(path, f'YAML reads {value} as text, not as a number', 'Write 1.0e-4 for 1e-4')
