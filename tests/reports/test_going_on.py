"""Users' reports of runs that go on from a checkpoint: the tests have the reports' numbers."""

import copy
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from dinoir_plugin.core.atomic_files import load_verified, save_atomic
from dinoir_plugin.models.resuming import kept_options, option_changes
from dinoir_plugin.preflight.check import check_run
from dinoir_plugin.testing.project import logged
from tests.reports.conftest import OPTIONS, in_process, write_images


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    """A run of six iterations, with checkpoints after three and six."""
    root = tmp_path_factory.mktemp('stopped')
    write_images(root)
    assert in_process(root, OPTIONS).code == 0
    return root


@pytest.fixture
def run(stopped, folder):
    """That run in the working directory."""
    shutil.copytree(stopped / 'experiments', folder / 'experiments')
    return folder


def rates(log):
    return {int(number): float(rate) for number, rate in re.findall(r'iter:\s*(\d+), lr:\(([^,]+),', log)}


def longer(options, total=12, **scheduler):
    options['train']['total_iter'] = total
    options['train']['scheduler'].update(periods=[total], restart_weights=[1], **scheduler)
    return options


def without_additions(path):
    """Make a training state that has nothing but what BasicSR's own has, and the ranks."""
    state = load_verified(path)
    save_atomic(path, {key: state[key] for key in ('epoch', 'iter', 'optimizers', 'schedulers', 'ranks')})


@pytest.mark.parametrize('earlier', [False, True], ids=['', 'state of an earlier version'])
def test_report_1_a_longer_run_goes_on_with_the_periods_of_the_file(run, options, earlier):
    if earlier:
        without_additions(run / 'experiments/run/training_states/6.state')
    done = in_process(run, longer(options), '--auto_resume')
    assert done.code == 0, done.log
    assert 'train.scheduler.periods: [12] in the options file, [6] in the checkpoint.' in done.log
    found = rates(done.log)
    # as in a run of twelve from the start
    wanted = {n: 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + torch.cos(torch.tensor(torch.pi * (n - 1) / 12)).item())
              for n in range(7, 13)}  # fmt: skip
    assert found == pytest.approx(wanted, rel=1e-3)


def test_report_2_what_the_file_changed_counts_and_is_named_line_by_line(run, options):
    options = longer(options, 8, eta_min=1e-7)
    options['train']['optim_g'].update(lr=1e-5, weight_decay=0.1, betas=[0.8, 0.999])
    done = in_process(run, options, '--auto_resume')
    assert done.code == 0, done.log
    for line in (
        'train.optim_g.lr: 1e-05 in the options file, 0.001 in the checkpoint.',
        'train.optim_g.weight_decay: 0.1 in the options file, 0 in the checkpoint.',
        'train.optim_g.betas: [0.8, 0.999] in the options file, [0.9, 0.999] in the checkpoint.',
        'train.scheduler.eta_min: 1e-07 in the options file, 1e-06 in the checkpoint.',
    ):
        assert line in done.log
    assert all(rate < 1e-5 for rate in rates(done.log).values())
    assert not re.search(r'train\.(phases|warmup_iter)', done.log)


@pytest.fixture
def halfway(run):
    """That run as if it had been stopped after the third iteration."""
    for name in ('models/net_g_6.pth', 'training_states/6.state'):
        (run / 'experiments/run' / name).unlink()
    return run


def test_the_state_of_the_checkpoint_counts_where_that_is_asked_for(halfway, train, options):
    before = rates(next((halfway / 'experiments/run').glob('*.log')).read_text())
    options['train'].update(on_resume='state')
    options['train']['optim_g'].update(lr=1e-5, weight_decay=0.1)
    options['train']['scheduler'].update(eta_min=1e-7)
    done = train(options, '--auto_resume')
    assert done.code is None, done.log
    ends = 'in the checkpoint. The checkpoint counts (train.on_resume: state).'
    for line in ('train.optim_g.lr: 1e-05 in the options file, 0.001', 'train.scheduler.eta_min: 1e-07 in the options '
                 'file, 1e-06', 'train.optim_g.weight_decay: 0.1 in the options file, 0'):  # fmt: skip
        assert f'{line} {ends}' in done.log
    assert rates(done.log) == {number: rate for number, rate in before.items() if number > 3}
    group = load_verified(halfway / 'experiments/run/training_states/6.state')['optimizers'][0]['param_groups'][0]
    assert (group['initial_lr'], group['weight_decay']) == (1e-3, 0)


@pytest.mark.parametrize(('changes', 'said'), [
    ({'scheduler': {'type': 'MultiStepLR', 'milestones': [4]}}, 'train.scheduler.type: train.on_resume: state goes on '
     'with the CosineAnnealingRestartLR of the checkpoint, got MultiStepLR.'),
    ({'total_iter': 9, 'scheduler': {**OPTIONS['train']['scheduler'], 'periods': [9]}}, 'train.total_iter: the '
     'schedule of the checkpoint ends after 6 iterations, got 9.'),
])  # fmt: skip
def test_a_schedule_with_which_the_state_cannot_go_on_is_refused_before_the_run(run, train, options, changes, said):
    options['train'].update(on_resume='state', **changes)
    done = train(options, '--auto_resume')
    assert said in str(done.code)


def test_report_2_what_the_file_changed_beside_the_optimizer_is_named_too(run, train, options):
    options = longer(options, 7)
    options['manual_seed'] = 11
    options['datasets']['train']['tasks']['denoise']['weight'] = 2
    options['datasets']['train'].update(gt_size=24, num_worker_per_gpu=1)
    options['train'].update(grad_clip_norm=0.5)
    options['train']['pixel_opt']['loss_weight'] = 0.5
    done = train(options, '--auto_resume')
    assert done.code is None, done.log
    found = [line.partition(' What')[0] for line in done.log.splitlines() if 'in the options file' in line]
    assert [line for line in found if 'scheduler' not in line] == [
        'datasets.train.gt_size: 24 in the options file, 32 in the checkpoint.',
        'datasets.train.tasks.denoise.weight: 2.0 in the options file, None in the checkpoint.',
        'train.grad_clip_norm: 0.5 in the options file, None in the checkpoint.',
        'train.pixel_opt.loss_weight: 0.5 in the options file, 1.0 in the checkpoint.',
        'manual_seed: 11 in the options file, 10 in the checkpoint.',
    ]


@pytest.fixture
def guided(options):
    options['network_g'] = {
        'type': 'DINOIRArch', 'backbone': options['network_g'], 'guide_at': ['model.2'], 'psf': {'dim': 8},
        'encoder': {'name': 'vit_small_patch14_dinov2', 'weights': 'random', 'layers': [0, 1],
                    'model_args': {'depth': 2, 'embed_dim': 24, 'num_heads': 2, 'init_values': 1.0}},
    }  # fmt: skip
    options['train'].update(total_iter=3)
    options['network_g']['encoder']['layers'] = {'shallow': 0, 'medium': 0, 'deep': 1}
    return options


def test_other_weights_of_the_encoder_are_refused_in_going_on(guided, train):
    assert train(guided).code is None
    guided['network_g']['encoder']['model_args']['init_values'] = 0.5
    guided['train']['total_iter'] = 4
    done = train(guided, '--auto_resume')
    assert "network_g.encoder.weights: the weights of 'vit_small_patch14_dinov2' (random) are others than " in done.code
    report, _ = check_run('o.yml', [], False, Path('sheets'), auto_resume=True)
    assert done.code.partition(': ')[2].split(' (')[0] in report.text()
    # other blocks of a transformer change no tensor
    guided['network_g']['encoder']['model_args']['init_values'] = 1.0
    guided['network_g']['encoder']['layers']['deep'] = 0
    said = r'network_g\.encoder\.layers: \S*net_g_3\.pth was trained with {deep: 1, medium: 0, shallow: 0}, and '
    assert re.search(said + 'these are {deep: 0, medium: 0, shallow: 0}. Give', train(guided, '--auto_resume').code)
    test = {**guided, 'datasets': {'test': guided['datasets']['val']}, 'path': {}}
    test['path']['pretrain_network_g'] = 'experiments/run/models/net_g_3.pth'
    Path('t.yml').write_text(yaml.safe_dump({key: test[key] for key in test if key not in ('train', 'logger')}))
    report, _ = check_run('t.yml', [], False, Path('sheets'))
    assert re.search(said, report.text())
    guided['network_g']['encoder']['layers']['deep'] = 1
    guided['network_g']['encoder']['model_args']['init_values'] = 0.5
    # as the start of another run they are worth a line
    guided.update(name='another', path={'pretrain_network_g': 'experiments/run/models/net_g_3.pth'})
    done = train(guided)
    assert done.code is None and 'are others than experiments/run/models/net_g_3.pth was trained with' in done.log


def test_files_of_weights_are_compared_where_no_fingerprint_tells_them_apart():
    train = {'vgg_opt': {'type': 'VGGPerceptualLoss', 'weights': 'a.pth'}}
    opt = {'datasets': {'train': {}}, 'network_g': {'encoder': {'name': 'x', 'weights': 'here.pth'}}, 'train': train}
    state = {'options': kept_options(opt)}
    opt['network_g']['encoder']['weights'], train['vgg_opt']['weights'] = 'there.pth', 'b.pth'
    assert list(option_changes(opt, state)) == [('train.vgg_opt.weights', 'b.pth', 'a.pth')]


def test_report_2_another_schedule_milestones_warm_up_and_phases(run, train, options):
    options = longer(options, 9)
    options['train']['scheduler'] = {'type': 'MultiStepLR', 'milestones': [2, 7], 'gamma': 0.5}
    options['train']['phases'] = [{'iters': 4}, {'iters': 9, 'lr': 8e-4}]
    options['train']['warmup_iter'] = 2
    done = train(options, '--auto_resume')
    assert done.code is None
    assert rates(done.log) == {7: 8e-4, 8: 4e-4, 9: 4e-4}
    for key in ('scheduler', 'phases', 'warmup_iter'):
        assert f'train.{key}: ' in done.log
    options['train']['total_iter'] = 10
    options['train']['phases'][1]['lr'] = 2e-4
    done = train(options, '--auto_resume')
    assert rates(done.log)[10] == 1e-4 and 'train.phases: ' in done.log and 'train.scheduler' not in done.log


def test_report_2_nothing_is_said_of_a_run_that_goes_on_as_it_was(train, options):
    reference = rates(train(options).log)
    shutil.rmtree('experiments')
    done = train({**options, 'train': {**options['train'], 'total_iter': 3}})
    assert rates(done.log).keys() == {1, 2, 3}
    assert 'Options of o.yml from iteration 1 on' in done.log.splitlines()
    done = train(options, '--auto_resume')
    assert 'in the options file' not in done.log
    assert [line for line in done.log.splitlines() if 'Options of' in line] == ['Options of o.yml from iteration 4 on']
    assert rates(done.log) == {number: reference[number] for number in (4, 5, 6)}


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'network_g': {'nc': 12}}, r"net_g_6.pth' does not fit network_g: it has 'model.0.weight' as \(8, 3, 3, 3\)"),
        ({'network_g': {'nb': 4}}, r"net_g_6.pth' does not fit network_g: it lacks 'model.6.weight'"),
        ({'optim_g': {'amsgrad': True}}, 'checkpoint was written with an optimizer that keeps exp_avg, exp_avg_sq'),
        ({'optim_g': {'type': 'Adagrad'}}, 'the checkpoint was written with Adam, from which Adagrad'),
        ({'optim_g': {'amsgrad': True}}, 'the checkpoint was written with an optimizer that keeps exp_avg, exp_avg_sq'),
    ],
    ids=['wider', 'deeper', 'SGD', 'Adagrad', 'amsgrad'],
)
def test_report_16_another_network_or_optimizer_is_one_line_from_the_check_too(
    run, check, train, options, change, said
):
    options['network_g'].update(change.get('network_g', {}))
    options['train']['optim_g'].update(change.get('optim_g', {}))
    options = longer(options)
    before = sorted((run / 'experiments').rglob('*'))
    result = check(options, '--auto_resume')
    assert result.status == 1 and re.search(f'(--auto_resume|train.optim_g): .*{said}', result.out)
    asked = check(options)
    assert asked.status == 0 and re.search(f'with --auto_resume the run would stop. .*{said}', asked.out)
    state = copy.deepcopy(options)
    state['path']['resume_state'] = 'experiments/run/training_states/6.state'
    assert check(state).status == 1 and re.search(said, check(state).out)
    done = train(options, '--auto_resume')
    assert '\n' not in done.code and re.search(said, done.code)
    assert sorted((run / 'experiments').rglob('*')) == before


def test_report_16_in_a_process(run, options):
    options['train']['optim_g']['type'] = 'SGD'
    done = in_process(run, longer(options), '--auto_resume')
    assert done.code == 1 and 'Traceback' not in done.log
    assert done.log.strip().splitlines()[-1].startswith('o.yml: train.optim_g: the checkpoint was written with Adam')


@pytest.mark.parametrize('change', [{'type': 'AdamW'}, {'type': 'RAdam'}, {'weight_decay': 0.5}, {'foreach': False}])
def test_report_16_what_keeps_the_same_goes_on(run, train, options, change):
    options['train']['optim_g'].update(change)
    assert train(longer(options, 7), '--auto_resume').code is None


def steady(options):
    """Options under which a logged loss tells which samples a step had: nothing is learned."""
    options['train']['optim_g']['lr'] = 0.0
    options['train']['scheduler'] = {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5}
    options.pop('val')
    options['datasets'].pop('val')
    options['logger']['save_checkpoint_freq'] = 2
    options['datasets']['train']['batch_size_per_gpu'] = 1
    return options


@pytest.mark.parametrize('earlier', [False, True], ids=['', 'state of an earlier version'])
@pytest.mark.parametrize(('before', 'after'), [(2, 0), (0, 2)], ids=['two ranks, then one', 'one rank, then two'])
def test_report_17_another_number_of_ranks_goes_on_after_the_last_sample(folder, options, before, after, earlier):
    options = steady(options)
    whole = copy.deepcopy(options)
    whole['name'] = 'whole'
    whole['train']['total_iter'] = 12
    losses = logged(in_process(folder, whole).log, 'l_pix')
    options['train']['total_iter'] = 4
    assert in_process(folder, options, ranks=before).code == 0
    seen = 4 * (before or 1)
    state = load_verified(folder / 'experiments/run/training_states/4.state')
    assert state['samples'] == seen
    if earlier:
        without_additions(folder / 'experiments/run/training_states/4.state')
    options['train']['total_iter'] = 6
    again = in_process(folder, options, '--auto_resume', ranks=after)
    assert again.code == 0, again.log
    width = after or 1
    wanted = [sum(losses[seen + step * width :][:width]) / width for step in range(2)]
    assert logged(again.log, 'l_pix') == pytest.approx(wanted, rel=2e-3)
    assert load_verified(folder / 'experiments/run/training_states/6.state')['samples'] == seen + 2 * width


def test_report_17_another_batch_goes_on_after_the_last_sample_and_to_the_end(train, options):
    options = steady(options)
    whole = copy.deepcopy(options)
    whole['train']['total_iter'] = 30
    losses = logged(train(whole).log, 'l_pix')
    shutil.rmtree('experiments')
    seen, got, wanted = 0, [], []
    # eight images: with a batch of 8 an epoch is one iteration, with 1 it is eight
    for batch, total in ((8, 2), (1, 4), (3, 6), (2, 8)):
        options['datasets']['train']['batch_size_per_gpu'] = batch
        options['train']['total_iter'] = total
        done = train(options, '--auto_resume')
        assert done.code is None
        got += logged(done.log, 'l_pix')
        wanted += [sum(losses[seen + step * batch :][:batch]) / batch for step in range(2)]
        seen += 2 * batch
    assert len(got) == 8
    assert got == pytest.approx(wanted, rel=2e-3)
