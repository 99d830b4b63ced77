"""Whole runs by BasicSR's unmodified trainer."""

import hashlib
import json

import pytest
import torch
from pytest import approx
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dinoir_plugin.testing.project import logged

TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '-m', 'basicsr.train')


@pytest.mark.parametrize('suffix', ['', '.lmdb'])
def test_fifty_iterations_from_folders_and_lmdb_bring_the_loss_down(make_project, suffix):
    project = make_project(suffix)
    project.train.update(total_iter=50)
    project.train['optim_g']['lr'] = 3.0e-3
    project.data.update(num_worker_per_gpu=1, dataset_enlarge_ratio=10)
    log = project.run().log
    losses = logged(log, 'l_pix')
    assert len(losses) == 50
    assert sum(losses[-12:]) < 0.9 * sum(losses[:12])


def test_run_writes_checkpoints_logs_tensorboard_and_images_and_resumes(make_project):
    project = make_project()
    project.add_validation()
    project.options['logger'].update(save_checkpoint_freq=2, use_tb_logger=True)
    first = project.run().log
    for level in ('shallow', 'medium', 'deep'):
        assert all(0 < score < 1 for score in logged(first, f'psf/{level}'))
    assert len(logged(first, 'l_dpc')) == 4
    assert '# dehaze: psnr' in first
    run = project.folder / 'experiments' / 'tiny'
    images = {path.name for path in (run / 'visualization' / 'check').iterdir()}
    assert images == {'denoise', 'deblur', 'derain', 'dehaze'}
    board = EventAccumulator(str(project.folder / 'tb_logger' / 'tiny')).Reload()
    assert [(event.step, event.value) for event in board.Scalars('lr')] == [(n, approx(1e-3)) for n in (1, 2, 3, 4)]
    assert [event.step for event in board.Scalars('metrics/check/input_psnr')] == [4]
    shown = board.Tags()['images']
    assert 1 <= len(shown) <= 4 and all(tag.startswith('images/check/') for tag in shown)
    (strip,) = board.Images(shown[0])
    assert (strip.step, strip.height, strip.width) == (4, 96, 3 * 96)
    saved = torch.load(run / 'models' / 'net_g_4.pth', weights_only=True)
    parameters = sum(t.numel() * t.element_size() for t in saved['params'].values())
    assert set(saved) == {'params', 'params_ema', 'dinoir_plugin'}
    assert not any('encoder.model' in key for key in saved['params'])
    # two copies of the trainable parameters, and nothing as large as an encoder beside them
    assert (run / 'models' / 'net_g_4.pth').stat().st_size < 2 * parameters * 1.05 + 200_000
    project.train['total_iter'] = 6
    again = project.run('--auto_resume').log
    assert 'Resuming training from epoch: 0, iter: 4.' in again or 'iter: 4.' in again
    assert len(logged(again, 'l_pix')) == 2


def test_two_ranks_equal_one_rank_with_the_doubled_batch(make_project):
    project = make_project()
    project.train.update(total_iter=5, ema_decay=0)
    # with a launcher BasicSR starts loader workers by spawn, anew in each epoch, which takes seconds
    project.data['dataset_enlarge_ratio'] = 20
    one = project.run().log
    project.data.update(batch_size_per_gpu=2, num_worker_per_gpu=1)
    two = project.run('--launcher', 'pytorch', command=TORCHRUN).log
    for key in ('l_pix', 'l_dpc'):
        assert len(logged(one, key)) == 5
        # the log has five digits
        assert logged(two, key) == pytest.approx(logged(one, key), rel=2e-4)


def test_stages_switch_batch_and_patch_by_iteration_also_after_a_resume(make_project):
    project = make_project()
    project.data['stages'] = [
        {'iters': 3, 'batch_size_per_gpu': 4, 'gt_size': 32},
        {'iters': 3, 'batch_size_per_gpu': 2, 'gt_size': 48},
    ]
    project.train.update(total_iter=6)
    whole = logged(project.run().log, 'l_pix')
    project.train['total_iter'] = 4
    project.options['logger']['save_checkpoint_freq'] = 4
    project.run()
    project.train['total_iter'] = 6
    resumed = logged(project.run('--auto_resume').log, 'l_pix')
    assert len(whole) == 6
    # the samples are the same; the optimizer's state is in the checkpoint, and so is the network
    assert resumed == pytest.approx(whole[4:], rel=2e-3)


def test_a_backbone_trains_alone_and_is_tested(make_project):
    project = make_project()
    backbone = project.options['network_g']['backbone']
    project.options['network_g'] = backbone
    project.train['dpc_opt'] = None
    log = project.run().log
    assert not logged(log, 'l_dpc')
    assert not logged(log, 'psf/deep')
    project.add_validation(suffix=None)
    test = {name: project.options[name] for name in ('model_type', 'num_gpu', 'manual_seed', 'val')}
    test['network_g'] = 'from_checkpoint'
    test['val'].pop('val_freq')
    test['name'] = 'tiny_test'
    test['datasets'] = {'test': project.options['datasets']['val']}
    test['path'] = {'pretrain_network_g': 'experiments/tiny/models/net_g_latest.pth', 'param_key_g': 'params_ema'}
    project.options = test
    done = project.run(command=('-m', 'basicsr.test'))
    assert '# psnr' in done.log
    results = project.folder / 'results' / 'tiny_test'
    assert len(list((results / 'visualization').rglob('*.png'))) == 15
    content = (project.models / 'net_g_latest.pth').read_bytes()
    made_by = {
        'path': test['path']['pretrain_network_g'],
        'weights': 'params_ema',
        'iteration': 4,
        'sha256': hashlib.sha256(content).hexdigest()[:12],
    }
    assert json.loads((results / 'metrics_check.json').read_text())['about']['checkpoint'] == made_by
    words = f'`{made_by["path"]}` (params_ema, iteration 4, sha256 {made_by["sha256"]}); '
    assert (results / 'results.md').read_text().splitlines()[-1].startswith(words)


def test_two_ranks_validate_as_one(make_project):
    """Every rank restores a part of the images, and the figures are the same to the last digit."""
    project = make_project()
    project.train.update(total_iter=1)
    project.train['optim_g']['lr'] = 0.0
    project.add_validation(val_freq=1)
    figures, images = [], []
    for more, options in (((), {}), (('--launcher', 'pytorch'), {'command': TORCHRUN})):
        run = project.folder / 'experiments' / 'tiny'
        log = project.run(*more, **options).log
        assert '# dehaze: psnr' in log
        figures.append((project.models / 'best.json').read_text())
        images.append({path.relative_to(run): path.read_bytes() for path in run.rglob('*.png')})
        run.rename(project.folder / f'ranks{len(figures)}')
    assert figures[0] == figures[1]
    assert images[0] == images[1]
    # the validation at the end is of iteration 1, too
    assert len(images[0]) == 15 and all(path.stem.endswith('_1') for path in images[0])
