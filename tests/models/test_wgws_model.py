"""WGWS-Net's two stages: a step for each weather under its flag, an oracle in tests, ranks that go together."""

import copy

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.guided_arch import backbone_of
from dinoir_plugin.testing.project import logged
from tests.models.test_restoration_model import options, step  # noqa: F401
from tests.models.test_training import TORCHRUN

TASKS = ['denoise', 'derain', 'dehaze', 'deblur']
STAGE1 = {'type': 'WGWSNet', 'base_channel': 4, 'stage': 1, 'num_res': 1}
STAGE2 = {'type': 'WGWSNet', 'base_channel': 4, 'num_weathers': 4, 'num_res': 1, 'weathers': TASKS}
# convolutions with branches: four in each of six blocks, and 24 between them
COUNT = 6 * 4 + 24
LOSSES = {
    'smooth_opt': {'type': 'SmoothL1Loss'},
    'indicator_opt': {'type': 'WGWSIndicatorLoss', 'loss_weight': 0.008},
}


def with_losses(train, losses):
    return {**{key: value for key, value in train.items() if not key.endswith('_opt')}, **losses}


@pytest.fixture
def weathers(options):  # noqa: F811
    """Options of stage 2, plain, with Adam and no EMA weights."""
    options['model_type'] = 'WGWSModel'
    options['network_g'] = copy.deepcopy(STAGE2)
    options['train'] = with_losses(options['train'], copy.deepcopy(LOSSES))
    options['train'].update(ema_decay=0, optim_g={'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.999]})
    return options


@pytest.fixture
def batch():
    torch.manual_seed(0)
    tasks = ['derain', 'denoise', 'derain', 'dehaze']
    return {'lq': torch.rand(4, 3, 32, 32), 'gt': torch.rand(4, 3, 32, 32), 'task': tasks, 'lq_path': list('abcd')}


def branches(net):
    return {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}


def test_each_weather_has_a_step_under_its_flag(weathers, batch):
    torch.manual_seed(0)
    model = build_model(weathers)
    plain = copy.deepcopy(model.net_g)
    optimizer = torch.optim.Adam([p for p in plain.parameters() if p.requires_grad], 1e-3, (0.9, 0.999))
    losses = []
    for task in ('denoise', 'derain', 'dehaze'):
        places = [place for place, name in enumerate(batch['task']) if name == task]
        optimizer.zero_grad()
        output = plain(batch['lq'][places], flag=plain.flag_of(task))
        smooth = torch.nn.functional.smooth_l1_loss(output, batch['gt'][places])
        number = TASKS.index(task) + 1
        indicators = [p for name, p in plain.named_parameters() if name.endswith(f'B{number}_indicator')]
        (smooth + 0.008 * sum(p.abs().sum() for p in indicators) / 1000).backward()
        optimizer.step()
        losses.append(smooth.item())
    step(model, batch)
    for name, value in branches(plain).items():
        torch.testing.assert_close(model.net_g.get_parameter(name), value, rtol=1e-5, atol=1e-7, msg=name)
    log = model.get_current_log()
    assert log['l_smooth'] == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert log['l_indicator'] == pytest.approx(0.008 * COUNT * 0.15 / 1000, rel=0.02)
    assert {'l1/denoise', 'l1/derain', 'l1/dehaze'} <= set(log) and 'l1/deblur' not in log


def test_frozen_weights_stay_and_a_branch_without_samples_has_no_momentum(weathers, batch):
    model = build_model(weathers)
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    step(model, batch)
    moved = {name for name, value in model.net_g.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.rpartition('.')[2][:2] for name in moved} == {'B1', 'B2', 'B3'}


def test_images_are_restored_under_the_flag_of_their_task(weathers):
    model = build_model(weathers)
    for name, parameter in model.net_g.named_parameters():
        if name.endswith('residual'):
            torch.nn.init.normal_(parameter, std=0.1)
    image = torch.rand(1, 3, 36, 40)
    found = []
    for task in TASKS:
        model.feed_data({'lq': image, 'task': [task]})
        model.test()
        with torch.no_grad():
            assert torch.equal(model.output, model.net_g.eval()(image, flag=model.net_g.flag_of(task)))
        model.opt['val'] = {'tile': 16, 'tile_overlap': 8}
        assert model.restore(image).shape == image.shape
        model.opt['val'] = {}
        found.append(model.output)
    assert not any(torch.equal(found[0], other) for other in found[1:])


def test_stage_two_goes_on_from_stage_one(weathers, batch, tmp_path):
    first = copy.deepcopy(weathers)
    first['network_g'] = copy.deepcopy(STAGE1)
    first['train'] = with_losses(first['train'], {'smooth_opt': {'type': 'SmoothL1Loss'}})
    model = build_model(first)
    before = [p.detach().clone() for p in model.net_g.parameters()]
    step(model, batch)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.net_g.parameters()))
    model.test()
    model.save(0, 1)
    weathers['path'].update(pretrain_network_g=str(tmp_path / 'net_g_1.pth'), strict_load_g=False)
    second = build_model(weathers)
    kept = second.net_g.state_dict()
    taken = {name: value for name, value in model.net_g.state_dict().items() if name in kept}
    assert len(taken) == COUNT + 4
    assert all(torch.equal(value, kept[name]) for name, value in taken.items())


def test_guided_it_learns_in_guidance_and_branches(weathers, batch, network_options):
    weathers['network_g'] = {'type': 'DINOIRArch', **network_options, 'backbone': STAGE2, 'guide_at': ['Decoder.*']}
    model = build_model(weathers)
    before = branches(model.net_g)
    step(model, batch)
    moved = {name for name, value in branches(model.net_g).items() if not torch.equal(value, before[name])}
    assert any('guidance' in name for name in moved) and any(name.endswith('B1_residual') for name in moved)
    assert backbone_of(model.net_g).stage == 2
    model.feed_data({'lq': batch['lq'][:1], 'task': ['dehaze']})
    model.test()
    assert model.output.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'type': 'NAFNet', 'width': 4}, r'network_g\.type: WGWSModel trains WGWSNet, got NAFNet'),
        ({'type': 'WGWSNet', 'base_channel': 4}, r'network_g\.weathers: expected the names of the tasks'),
    ],
)
def test_networks_that_it_cannot_train(weathers, change, message):
    weathers['network_g'] = change
    with pytest.raises(OptionsError, match=message):
        build_model(weathers)


def test_tasks_without_a_branch_are_named(weathers, batch):
    model = build_model(weathers)
    with pytest.raises(OptionsError, match=r"network_g\.weathers: there is no branch for the task 'derian'.*'derain'"):
        step(model, {**batch, 'task': ['derian'] * 4})
    with pytest.raises(ValueError, match='expected images of one task'):
        step_of_two = {'lq': batch['lq'][:2], 'task': ['derain', 'dehaze']}
        model.feed_data(step_of_two)
        model.test()


def test_the_loss_of_indicators_needs_its_model(weathers, batch):
    weathers['model_type'] = 'RestorationModel'
    model = build_model(weathers)
    with pytest.raises(OptionsError, match='model_type: WGWSIndicatorLoss needs the indicators'):
        step(model, batch)


def test_two_ranks_learn_as_one_does_and_the_loss_falls(make_project):
    """One sample a rank and iteration, so that a rank has no sample of the other's weather."""
    project = make_project()
    project.options.update(model_type='WGWSModel', network_g=copy.deepcopy(STAGE2))
    tasks = list(project.data['tasks'])
    project.options['network_g'].update(weathers=tasks, num_weathers=len(tasks))
    project.options['train'] = with_losses(project.train, copy.deepcopy(LOSSES))
    project.options['train'].update(total_iter=6, ema_decay=0)
    project.data.update(batch_size_per_gpu=2, num_worker_per_gpu=0)
    one = project.run().log
    project.data['batch_size_per_gpu'] = 1
    two = project.run('--launcher', 'pytorch', command=TORCHRUN).log
    for key in ('l_smooth', 'l_indicator'):
        assert len(logged(one, key)) == 6
        assert logged(two, key) == pytest.approx(logged(one, key), rel=2e-3)
