"""What `dinoir check` accepts, the trainer does: options files drawn from what the options declare.

DINOIR_FUZZ sets how many are drawn; the default takes less than a minute.
"""

import dataclasses
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

import basicsr
import cv2
import pytest
import yaml
from basicsr.train import train_pipeline
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from skimage import data

from dinoir_plugin.core.constraints import AtLeast, BareOff
from dinoir_plugin.core.options import alternatives_of, is_list, taken_apart
from dinoir_plugin.data.options import DatasetOptions, TaskOptions
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.plugin import hooks
from dinoir_plugin.preflight.check import check_run

EXAMPLES = int(os.environ.get('DINOIR_FUZZ', '60'))
ROOT = str(Path(basicsr.__file__).absolute().parent.parent)


def as_somebody_writes_it(number):
    """A whole number, also as a float or with an exponent; now and then what is none."""
    return rarely([str(number), number + 0.5], number, float(number), f'{number}e0')


def rarely(odd, *usual):
    """Mostly what is right, for a file has many options; now and then what is not."""
    return st.integers(0, 19).flatmap(lambda number: st.sampled_from(odd if number == 19 else usual))


NAMES = rarely([True, None, 'x/y'], 'a', 15, 0.5, 'run 1', 'ü', 'undebugged')
# what cannot be drawn from a kind alone: files, classes and their arguments, and what would take long
NETWORKS = [
    {'type': 'DnCNN', 'nc': 8, 'nb': 3, 'act_mode': 'R'}, {'type': 'DnCNN', 'nc': 8.0, 'nb': 3.0, 'act_mode': 'BR'},
    {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1.0], 'middle_blk_num': 1, 'dec_blk_nums': [1]},
    {'type': 'MSRResNet', 'num_in_ch': 3.0, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 1},
    {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2},
]  # fmt: skip
SCHEDULES = [
    {'type': 'MultiStepLR', 'milestones': [1.0, 9], 'gamma': 0.5}, {'type': 'MultiStepLR', 'milestones': []},
    {'type': 'CosineAnnealingRestartLR', 'periods': [2.0], 'restart_weights': [1], 'eta_min': '1e-7'},
    {'type': 'CosineAnnealingRestartLR', 'periods': [1], 'restart_weights': [1]}, {'type': 'Cosine'},
]  # fmt: skip
OPTIMIZERS = [{'type': 'Adam', 'lr': '1e-3'}, {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9}, {'type': 'AdamW', 'lr': 1},
              {'type': 'LBFGS', 'lr': 1e-3}, {'type': 'SparseAdam', 'lr': 1e-3}, {'type': 'Adam'}]  # fmt: skip
METRICS = [{15: {'type': 'calculate_psnr', 'crop_border': 0.0}}, {'ssim': {'type': 'calculate_ssim', 'crop_border': 2}},
           {'a': {'type': 'calculate_psnr_all_in_one'}}, None, {'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}]
GIVEN = {
    'model_type': st.just('RestorationModel'),
    'num_gpu': rarely([64], 'auto', 0, 0.0),
    'name': NAMES,
    'network_g': rarely(NETWORKS[-2:], *NETWORKS[:-2]),  # the last two do not build or change the size
    'dist_params': st.none(),
    'path': rarely([{'pretrain_network_g': 'nowhere.pth'}], {}, {'pretrain_network_g': None, 'param_key_g': None}),
    'train.total_iter': as_somebody_writes_it(2),
    'train.optim_g': rarely(OPTIMIZERS[3:], *OPTIMIZERS[:3]),
    'train.scheduler': rarely(SCHEDULES[3:], *SCHEDULES[:3]),
    'train.blocks': rarely([{}], {'pixel_opt': {'type': 'L1Loss'}}, {'edge_opt': {'type': 'EdgeLoss'}}),
    'train.losses': rarely([{'pixel': {'type': 'MSELoss'}}], None, {'far': {'type': 'MSELoss'}}),
    'train.phases': rarely([[{'iters': 0}]], None, [{'iters': 1.0}, {'iters': 1, 'lr': '1e-4'}]),
    'train.checkpointing': st.none(),
    'train.compile': st.just(False),
    'val.metrics': rarely(METRICS[-1:], *METRICS[:-1]),
    'val.sampler': rarely([{'type': 'IRSDESampler'}], None, {'type': 'Feedforward'}),
    'val.val_freq': as_somebody_writes_it(1),
    'logger.wandb': rarely([{'project': 'x'}], None),
    'logger.save_checkpoint_freq': as_somebody_writes_it(1),
    'datasets.train.gt_size': rarely([40], 8, 16.0),
    'datasets.train.batch_size_per_gpu': rarely([None, 2.5], 2, 1.0, '2e0'),
    'datasets.train.stages': st.sampled_from([None, [{'iters': 1, 'gt_size': 12.0}, {'iters': 1}]]),
    'datasets.train.prefetch_mode': rarely(['cuda'], None, 'cpu'),
    'datasets.train.num_worker_per_gpu': rarely([0.5], 0, 0.0),
    'datasets.train.persistent_workers': rarely([True], False, None),
    'datasets.train.type': st.just('MixedDegradationDataset'),
    'datasets.train.seed': st.sampled_from([0, 3.0]),
}
LEFT_OUT = ('phase', 'done_iters', 'done_samples', 'done_ranks', 'scale', 'tasks', 'io_backend', 'use_shuffle')
PRESENT = ('model_type', 'val', 'gt_size', 'batch_size_per_gpu', 'num_worker_per_gpu', 'type')


def of_kind(kind, path):
    """Values that an annotation takes, most of the time."""
    if path in GIVEN:
        return GIVEN[path]
    base, constraints = taken_apart(kind)
    if base is bool:
        return st.booleans()
    if get_origin(base) is Literal:
        words = [*get_args(base), *([False] if any(isinstance(entry, BareOff) for entry in constraints) else [])]
        return st.sampled_from(words)
    if alternatives := alternatives_of(base):
        return st.one_of([st.none() if one is type(None) else of_kind(one, path) for one in alternatives])
    if base is int:
        low = max([0, *(entry.low for entry in constraints if isinstance(entry, AtLeast))])
        return as_somebody_writes_it(int(low) + 1)
    if base is float:
        return st.sampled_from([0.5, 1, '1e-1'])
    if base is str:
        return NAMES
    if is_list(base) or get_origin(base) is Mapping:
        return st.none()
    return block(base, path)


def block(kind, path=''):
    """A block of options: what is required, and some of the rest."""
    hints = {field.name: field for field in dataclasses.fields(kind) if field.name not in LEFT_OUT}
    needed, others, patterns = {}, {}, []
    for name, field in hints.items():
        below = f'{path}.{name}' if path else name
        if field.metadata.get('keys'):
            patterns += [GIVEN[below]] if below in GIVEN else []
        elif field.metadata.get('required') in (True, 'train') or name in PRESENT:
            needed[name] = of_kind(typed(kind)[name], below)
        else:
            others[name] = of_kind(typed(kind)[name], below)
    drawn = st.fixed_dictionaries(needed, optional=others)
    for pattern in patterns:
        drawn = st.tuples(drawn, pattern).map(lambda pair: {**pair[0], **pair[1]})
    return drawn


def typed(kind):
    from typing import get_type_hints

    return get_type_hints(kind, include_extras=True)


@st.composite
def options_files(draw):
    degradation = {'type': 'gaussian_noise', 'sigma': draw(st.sampled_from([25, '2e1']))}
    noisy = {'dataroot_gt': 'clean', 'degradation': degradation}
    weights = draw(of_kind(typed(TaskOptions)['weight'], 'weight'))
    tasks = {draw(NAMES): {**noisy, 'weight': weights}, 25: {'dataroot_gt': 'clean', 'dataroot_lq': 'clean'}}
    train = {**draw(block(DatasetOptions, 'datasets.train')), 'tasks': tasks, 'name': draw(NAMES)}
    images = draw(rarely(['small'], 'clean'))
    val = {'name': draw(NAMES), 'type': 'MixedDegradationDataset', 'tasks': {7: {**noisy, 'dataroot_gt': images}}}
    single = {'name': 'single', 'type': 'SingleImageDataset', 'dataroot_lq': 'clean', 'io_backend': {'type': 'disk'}}
    GIVEN['datasets'] = st.just({'train': train, 'val_1': val, **draw(st.sampled_from([{}, {'val_2': single}]))})
    return draw(block(RunOptions))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, side in (('clean', 32), ('small', 8)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / 'a.png'), data.chelsea()[:side, :side])
    monkeypatch.chdir(tmp_path)
    before = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield tmp_path
    sys.excepthook = before[0]
    signal.signal(signal.SIGTERM, before[1])
    hooks.set_up({}, ours=False)


def test_what_check_accepts_trains_validates_and_saves(folder, monkeypatch):
    accepted = []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(options=options_files())
    def run(options):
        Path('o.yml').write_text(yaml.safe_dump(options, allow_unicode=True))
        report, _ = check_run('o.yml', [], False, folder / 'sheets')
        if report.has_errors:
            return
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', 'o.yml'])
        for made in ('experiments', 'tb_logger'):
            shutil.rmtree(made, ignore_errors=True)
        train_pipeline(ROOT)
        (models,) = Path('experiments').glob('*/models')
        assert (models / 'net_g_latest.pth').is_file()
        accepted.append(options)

    run()
    # the longer it draws, the odder they become
    assert len(accepted) >= max(EXAMPLES // 8, min(EXAMPLES, 60) // 4), len(accepted)
