"""Which keys an options file of the plugin may have, and what kind of value each takes.

The tables hold what BasicSR's trainer and :class:`DINOIRModel` read. Blocks that name a ``type`` (networks, losses,
data sets, schedulers, optimizers, metrics) are checked against the signature of that type in ``builds``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dinoir_plugin.errors import OptionsError, nearest


@dataclass(frozen=True)
class Key:
    """What one option takes.

    Attributes:
        kind: ``text``, ``count`` (whole number from 1), ``whole`` (whole number), ``number``, ``flag``, ``block``,
            ``gpus`` (``auto`` or a whole number from 0), or ``any``.
        required: When it must be there: always (True), never (False), or in training only (``'train'``).
        block: For a block with fixed keys, these.
    """

    kind: str
    required: bool | str = False
    block: Mapping[str, Key] | None = None


TEXT, COUNT, WHOLE, NUMBER, FLAG = (Key(kind) for kind in ('text', 'count', 'whole', 'number', 'flag'))
TYPED = Key('block', block=None)

PATHS = {
    'pretrain_network_g': TEXT,
    'strict_load_g': FLAG,
    'param_key_g': TEXT,
    'resume_state': TEXT,
    'ignore_resume_networks': Key('any'),
    'experiments_root': TEXT,
    'results_root': TEXT,
}
TRAIN = {
    'total_iter': Key('count', required='train'),
    'warmup_iter': WHOLE,
    'ema_decay': NUMBER,
    'grad_clip_norm': NUMBER,
    'optim_g': Key('block', required='train'),
    'scheduler': Key('block', required='train'),
    'pixel_opt': Key('block', required='train'),
    'perceptual_opt': TYPED,
    'dpc_opt': TYPED,
}
VAL = {
    'val_freq': Key('count', required='train'),
    'save_img': Key('flag', required=True),
    'pbar': FLAG,
    'suffix': TEXT,
    'metrics': TYPED,
}
LOGGER = {
    'print_freq': Key('count', required='train'),
    'save_checkpoint_freq': Key('number', required='train'),
    'use_tb_logger': Key('flag', required='train'),
    'wandb': Key('block', block={'project': TEXT, 'resume_id': TEXT}),
}
TOP = {
    'name': Key('text', required=True),
    'model_type': Key('text', required=True),
    'scale': COUNT,
    'num_gpu': Key('gpus', required=True),
    'manual_seed': WHOLE,
    'find_unused_parameters': FLAG,
    'dist_params': Key('block', block={'backend': TEXT, 'port': COUNT}),
    'datasets': Key('block', required=True),
    'network_g': Key('block', required=True),
    'path': Key('block', required=True, block=PATHS),
    'train': Key('block', required='train', block=TRAIN),
    'val': Key('block', block=VAL),
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
    _check_block(opt, TOP, '', is_train)
    for phase, dataset in opt['datasets'].items():
        path = f'datasets.{phase}'
        kind = str(phase).split('_')[0]
        allowed = ('train', 'val') if is_train else ('val', 'test')
        if kind not in allowed:
            raise OptionsError(path, f'expected a name that starts with {" or ".join(allowed)}, got {phase!r}')
        _check_kind(dataset, TYPED, path)
        for key in ('name', 'type'):
            if not isinstance(dataset.get(key), str):
                raise OptionsError(f'{path}.{key}', f'expected text, got {dataset.get(key)!r}')
    if is_train and 'train' not in opt['datasets']:
        raise OptionsError('datasets.train', 'this key is required, but missing')


def _check_block(block: Mapping[str, Any], keys: Mapping[str, Key], path: str, is_train: bool) -> None:
    for name, value in block.items():
        full = f'{path}.{name}' if path else str(name)
        if name not in keys:
            raise OptionsError(full, 'unknown option', nearest(str(name), keys))
        key = keys[name]
        # an empty value (`resume_state: ~`) counts as left out, as everywhere in BasicSR
        if value is None and not key.required:
            continue
        _check_kind(value, key, full)
        if key.block is not None:
            _check_block(value, key.block, full, is_train)
    for name, key in keys.items():
        if name not in block and (key.required is True or (key.required == 'train' and is_train)):
            raise OptionsError(f'{path}.{name}' if path else name, 'this key is required, but missing')


def _check_kind(value: Any, key: Key, path: str) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits, expected = {
        'text': (isinstance(value, str), 'text'),
        'count': (whole and value > 0, 'a whole number from 1'),
        'whole': (whole, 'a whole number'),
        'number': (whole or isinstance(value, float), 'a number'),
        'flag': (isinstance(value, bool), 'true or false'),
        'block': (isinstance(value, Mapping), 'a block of options'),
        'gpus': (value == 'auto' or (whole and value >= 0), "'auto' or a whole number from 0"),
        'any': (True, ''),
    }[key.kind]
    if fits:
        return
    remedy = 'YAML reads 1e-4 as text: write 1.0e-4' if _is_number_text(value) else ''
    raise OptionsError(path, f'expected {expected}, got {value!r}', remedy)


def _is_number_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
