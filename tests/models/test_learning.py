"""Networks that the papers compare with learn: a tiny form on photographs, for some iterations, in their phases."""

from statistics import fmean

import pytest
import torch
from basicsr.data import build_dataset
from basicsr.models import build_model

from dinoir_plugin.experiments import quickstart
from dinoir_plugin.experiments.variants import Experiments, training_options
from dinoir_plugin.testing.teachers import TINY_TKMANET, write_teachers

ITERATIONS = 150  # of a network without phases
QUEUE = 64  # iterations until AirNet's queue holds keys of images alone; before that it is easily told apart
AIRNET = {'type': 'AirNet', 'n_feats': 8, 'n_groups': 1, 'n_blocks': 1, 'encoder_widths': [8, 16, 32], 'dim': 32,
          'batch_size': 1}  # fmt: skip
IDR = {'type': 'IDR', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8],
       'num_degra_queries': 4}  # fmt: skip
WGWS = {'type': 'WGWSNet', 'base_channel': 4, 'num_res': 1, 'num_weathers': 4,
        'weathers': ['denoise', 'deblur', 'derain', 'dehaze']}  # fmt: skip
SMOOTH = {'pixel_opt': None, 'smooth_opt': {'type': 'SmoothL1Loss', 'loss_weight': 1.0}}
# network, what its training has beside the losses of pixels, and the losses that fall in each phase
NETWORKS = {
    'MPRNet': ({'type': 'MPRNet', 'n_feat': 8, 'scale_unetfeats': 4, 'scale_orsnetfeats': 4, 'num_cab': 1}, {},
               [['l_pix']]),
    'BRDNet': ({'type': 'BRDNet', 'nc': 8}, {}, [['l_pix']]),
    'IRCNN': ({'type': 'IRCNN', 'nc': 16}, {}, [['l_pix']]),
    'IRCNN25': ({'type': 'IRCNN25', 'nc': 8}, {}, [['l_pix']]),
    'TransWeather': ({'type': 'TransWeather', 'embed_dims': [8, 16, 20, 32]}, SMOOTH, [['l_smooth']]),
    'TransWeatherBase': ({'type': 'TransWeatherBase', 'embed_dims': [8, 16, 20, 32]}, SMOOTH, [['l_smooth']]),
    'AirNet': (AIRNET, {'contrast_opt': {'type': 'ContrastiveQueueLoss', 'loss_weight': 0.1},
                        'phases': [{'iters': 200, 'losses': ['contrast'], 'train_only': ['E']}, {'iters': 100}]},
               [['l_contrast'], ['l_pix']]),
    'IDR': (IDR, {'levels_opt': {'type': 'IDRLevelLoss'}, 'types_opt': {'type': 'IDRTypeLoss'},
                  'phases': [{'iters': 150, 'stage': 1, 'losses': ['pixel', 'levels', 'types']},
                             {'iters': 150, 'stage': 2, 'losses': ['pixel', 'levels']}]},
            [['l_pix', 'l_levels', 'l_types'], ['l_pix', 'l_levels']]),
    'WGWSNet, stage 1': ({**WGWS, 'stage': 1}, SMOOTH, [['l_smooth']]),
    'WGWSNet, stage 2': ({**WGWS, 'stage': 2},
                         {**SMOOTH, 'indicator_opt': {'type': 'WGWSIndicatorLoss', 'loss_weight': 0.008}},
                         [['l_smooth']]),
    'TKMANet': ({**TINY_TKMANET, 'teachers': 4}, {'transfer_opt': {'type': 'KnowledgeTransferLoss'},
                'phases': [{'iters': 75, 'losses': ['transfer']}, {'iters': 75, 'losses': ['pixel']}]},
                [['l_transfer'], ['l_pix']]),
}  # fmt: skip
SMALLER = ('TKMANet', 'WGWSNet, stage 2', 'IDR')  # which take long
MODELS = {'WGWSNet, stage 1': 'WGWSModel', 'WGWSNet, stage 2': 'WGWSModel', 'TKMANet': 'TransferModel'}


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photographs')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        quickstart.prepare()
    return folder


@pytest.fixture
def options(images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    experiments = Experiments()
    opt = training_options(experiments.runs['restormer'], experiments.budgets['tiny'], 'x', 0)
    opt.update(is_train=True, dist=False, rank=0, world_size=1, num_gpu=0, model_type='RestorationModel')
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path), experiments_root=str(tmp_path))
    opt['train'].update(warmup_iter=-1, ema_decay=0, scheduler={'type': 'MultiStepLR', 'milestones': [10**6]})
    opt['train']['optim_g']['lr'] = 2.0e-3
    opt['datasets']['train'].update(phase='train', seed=0, gt_size=32, batch_size_per_gpu=4)
    return opt


@pytest.mark.parametrize('name', NETWORKS)
def test_each_loss_falls_in_its_phase(name, options, tmp_path):
    torch.manual_seed(0)
    network, train, falling = NETWORKS[name]
    options.update(network_g=dict(network), model_type=MODELS.get(name, 'RestorationModel'))
    if name == 'TKMANet':
        options['teachers'] = write_teachers(tmp_path, WGWS['weathers'])
    phases = train.get('phases', [{'iters': ITERATIONS}])
    iterations = sum(phase['iters'] for phase in phases)
    options['train'].update({key: value for key, value in train.items() if value is not None}, total_iter=iterations)
    for key in [key for key, value in train.items() if value is None]:
        del options['train'][key]
    data = options['datasets']['train']
    if name in SMALLER:
        data['gt_size'] = 16
    data['second_patch'] = network['type'] == 'AirNet'
    samples = build_dataset(data)
    model = build_model(options)
    logs = []
    for iteration in range(1, iterations + 1):
        items = [samples[4 * (iteration - 1) + place] for place in range(4)]
        keys = [key for key, value in items[0].items() if isinstance(value, torch.Tensor)]
        model.feed_data({**{key: torch.stack([item[key] for item in items]) for key in keys},
                         'task': [item['task'] for item in items]})  # fmt: skip
        model.update_learning_rate(iteration)
        model.optimize_parameters(iteration)
        logs.append(model.get_current_log())
    end = 0
    for phase, losses in zip(phases, falling):
        begin, end = end, end + phase['iters']
        for loss in losses:
            # in a later phase it goes on from what the earlier ones have reached
            there = [log[loss] for log in logs if loss in log][QUEUE if loss == 'l_contrast' else 0 :]
            first, last = fmean(there[:25]), fmean(log[loss] for log in logs[end - phase['iters'] // 3 : end])
            assert last < 0.95 * first, (loss, begin, first, last)
