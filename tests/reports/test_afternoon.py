"""A researcher's first afternoon, by its own steps, and no friction of it: the comments have the log's numbers.

What the steps do not come by is held elsewhere:

4 (Ctrl-C, where the silences of 23 end, too): tests/faults/test_stopping.py
8, 18 (published figures, the report's figure, parameters, times, seeds): tests/experiments/test_report.py
9 (the method's diagram): tests/experiments/test_method_diagram.py; the glossary is docs/method.md
10 (every option explained, docs/options.md current): tests/preflight/test_reference.py
15 (protocols with tests and metrics): tests/datasets/test_protocols.py
17 (reproduce is quiet, nothing archived is left): tests/experiments/test_programs.py, test_reproduce.py
19 (several seeds, spreads): tests/experiments/test_compare.py
22 (the demo's output), 23 (export): tests/restore/test_demo.py, test_export.py
24 (roots of SOTS): tests/datasets/test_catalogue.py
"""

import copy
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from basicsr.test import test_pipeline as host_tester
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dinoir_plugin import DEGRADATION_REGISTRY
from dinoir_plugin.core.version import __version__
from dinoir_plugin.plugin.extensions import VARIABLE, loaders
from tests.plugin.test_extensions import PARTS
from tests.reports.conftest import OPTIONS, in_process

RUN = Path('experiments/run')
# by torch.hub's name (14)
ENCODER = {'name': 'dinov2_vits14', 'weights': 'random', 'layers': {'shallow': 0, 'medium': 0, 'deep': 1},
           'model_args': {'depth': 2, 'embed_dim': 24, 'num_heads': 2, 'init_values': 1.0}}  # fmt: skip
NAFNET = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}


@pytest.fixture
def own_parts(folder, monkeypatch):
    """A module of own parts in the working directory, known to all processes; this one forgets it again."""
    (folder / 'my_parts.py').write_text(PARTS)
    monkeypatch.setenv(VARIABLE, 'my_parts')
    monkeypatch.setattr(sys, 'path', [*sys.path])
    for registry in (ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, DEGRADATION_REGISTRY):
        monkeypatch.setattr(registry, '_obj_map', {**registry._obj_map})
    for _, load in loaders():
        load()
    yield
    del sys.modules['my_parts']


@pytest.fixture
def steps(own_parts, dinoir, check, train):
    return SimpleNamespace(dinoir=dinoir, check=check, train=train)


def options_of(tasks):
    """A guided run on the own pairs and an own degradation, with an own loss (6)."""
    options = copy.deepcopy(OPTIONS)
    dark = {'dataroot_gt': 'data/clean', 'degradation': [{'type': 'Darker'}, {'type': 'gaussian_noise', 'sigma': 15}]}
    options['datasets']['train'].update(
        tasks={**tasks, 'dark': dark}, stages=[{'iters': 2, 'gt_size': 24}, {'iters': 9, 'gt_size': 32}]
    )
    options['datasets']['val_dark'] = {**options['datasets']['val'], 'name': 'dark', 'tasks': {'dark': dark}}
    options['network_g'] = {'type': 'DINOIRArch', 'backbone': options['network_g'], 'guide_at': ['model.2'],
                            'psf': {'dim': 8}, 'encoder': copy.deepcopy(ENCODER)}  # fmt: skip
    options['train'].update(total_iter=4, losses={'mine': {'type': 'MyLoss', 'loss_weight': 0.5}},
                            dpc_opt={'type': 'DPCLoss', 'loss_weight': 0.01, 'layers': [0, 1]})  # fmt: skip
    options['train']['scheduler'] = {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5}
    options['val']['val_freq'] = 2
    options['logger'].update(save_checkpoint_freq=4, use_tb_logger=True)
    return options


def changed(options, **network_g):
    options = copy.deepcopy(options)
    options['network_g'].update(network_g)
    return options


def unguided(options):
    options = copy.deepcopy(options)
    options.update(name='plain', network_g=options['network_g']['backbone'])
    del options['train']['dpc_opt']
    return options


def test_the_afternoon_meets_none_of_its_frictions(steps):
    done = steps.dinoir('prepare', 'pairs', 'data/noisy', 'data/clean', '--out', 'sets/derain', '--workers', 1)
    blocks = yaml.safe_load(re.search(r'^datasets:.*', done.out, re.DOTALL | re.MULTILINE)[0])
    options = options_of(blocks['datasets']['train']['tasks'])  # 15
    assert steps.check(options).status == 0
    look_at_names(steps, options)
    look_at_the_checks_words(steps, options)
    # a process of its own; all others run in this one
    done = in_process(Path(), options)
    assert done.code == 0, done.log
    (log,) = RUN.glob('*.log')
    look_at_the_training(done.log, log.read_text())
    go_on(steps, options)
    measure(steps, options)
    compare(steps, options)


def look_at_names(steps, options):
    """Unknown names are answered with what to do and ten names at most (3, 14, 16); lists are at hand (10, 16)."""
    for wrong, said in (
        ({'backbone': {'type': 'TinyUNet'}}, f'{VARIABLE}=my_module imports the module that registers it.'),
        ({'encoder': {**ENCODER, 'name': 'dinov2_vits15'}}, "did you mean 'dinov2_vits14'?"),
        ({'encoder': {**ENCODER, 'name': 'zzzz'}}, "timm has no model 'zzzz'. valid: "),
        ({'backbone': NAFNET, 'guide_at': ['layers.0']}, "NAFNet has no module 'layers.0'. valid: 'decoders', "),
    ):
        result = steps.check(changed(options, **wrong))
        assert result.status == 1 and said in result.out
        assert result.out.partition('valid: ')[2].partition(' and ')[0].count(',') < 10
    steps.check(options)
    assert re.search(r'^model\.2 +8 +1 +1$', steps.dinoir('modules', 'o.yml').out, re.MULTILINE)
    assert 'stages of MixedDegradationDataset: a list of blocks with iters' in steps.dinoir('options', 'stages').out


def look_at_the_checks_words(steps, options):
    """Each is understood when read once (22)."""
    said = steps.check(options).out
    assert 'patches of 24 px, which the encoder takes as 28 px; patches of 32 px, which ' in said
    plain = unguided(options)
    plain['train']['dpc_opt'] = options['train']['dpc_opt']
    said = steps.check(plain).out
    assert 'train.dpc_opt.encoder: the loss needs an encoder, and network_g has none: DnCNN is not guided.' in said
    said = steps.check({**unguided(options), 'model_type': 'SRModel'}).out
    assert 'read by SRModel, which does not declare its options' in said
    Path('net.onnx').write_bytes(b'\x08\x08\x12\x07pytorch')
    assert 'net.onnx holds no checkpoint: it is a graph of ONNX' in steps.dinoir('info', 'net.onnx').out


def look_at_the_training(terminal, log):
    assert terminal.splitlines()[1].endswith(': checking images, network and weights before the run')  # 23
    assert 'WARNING: The encoder ' in log and 'has random weights: good for trying things out' in log  # 11
    assert 'UserWarning' not in terminal and 'Traceback' not in terminal
    assert 'Multiple validation datasets' not in terminal  # 12
    assert [len(re.findall(f'Validation {name}\n', log)) for name in ('va', 'dark')] == [2, 2]
    assert 'Validation va: the figures of iteration 4 stand above.' in log
    assert len(re.findall(r'# psnr: [\d.]+ \(input [\d.]+\)', log)) == 4  # 5
    assert len(re.findall(r' l_mine: ', log)) == 4 and len(re.findall(' l1/dark: ', log)) == 4  # 6
    assert f'dinoir_plugin {__version__}, basicsr ' in log and ', timm ' in log  # 13
    assert "stages: [{'gt_size': 24, 'iters': 2}, {" in log  # 22
    assert 'Options of o.yml from iteration 1 on' in log  # 24
    board = EventAccumulator('tb_logger/run').Reload()  # 21
    assert [event.step for event in board.Scalars('lr')] == [1, 2, 3, 4]
    shown = [tag for tag in board.Tags()['images'] if tag.startswith('images/va/denoise/')]
    assert len(shown) == 4, shown
    for tag in shown:
        assert [(strip.step, strip.width) for strip in board.Images(tag)] == [(2, 3 * 48), (4, 3 * 48)]
    assert [event.step for event in board.Scalars('metrics/va/psnr')] == [2, 4]  # 12
    assert board.Scalars('losses/l_mine')


def go_on(steps, options):
    """Another lr and more iterations count, and have their line (1, 24); another backbone is refused (7)."""
    options['train'].update(total_iter=6, optim_g={'type': 'Adam', 'lr': 5e-4})
    done = steps.train(options, '--auto_resume')
    assert done.code is None, done.log
    assert 'train.optim_g.lr: 0.0005 in the options file, 0.001 in the checkpoint.' in done.log
    assert re.findall(r'iter: +(\d+), lr:\((\S+),', done.log) == [('5', '5.000e-04'), ('6', '5.000e-04')]
    assert 'Options of o.yml from iteration 5 on' in done.log
    other = changed(options, backbone=NAFNET, guide_at=['middle_blks'])
    done = steps.train(other, '--auto_resume')
    assert re.match(r"o\.yml: --auto_resume: '\S+net_g_4\.pth' does not fit network_g: it lacks .* another name\.$",
                    done.code)  # fmt: skip
    assert done.code in steps.check(other, '--auto_resume').out.replace('    --auto', 'o.yml: --auto')


def measure(steps, options):
    """A test takes the network from the file (20), and says what made its figures (5, 13)."""
    sets = {f'test_{number}': options['datasets'][name] for number, name in enumerate(('val', 'val_dark'))}
    own = {key: options[key] for key in ('model_type', 'num_gpu', 'manual_seed')}
    own.update(name='test', network_g='from_checkpoint', datasets=sets, val={**options['val'], 'save_img': True},
               path={'pretrain_network_g': str(RUN / 'models/net_g_latest.pth')})  # fmt: skip
    del own['val']['val_freq']
    done = steps.train(own, pipeline=host_tester)
    assert done.code is None and 'Best' not in done.log
    figures = json.loads(Path('results/test/metrics_va.json').read_text())
    assert [image['name'] for image in figures['images']] == [str(number) for number in range(8)]
    about = figures['about']
    assert about['checkpoint']['iteration'] == 6 and about['checkpoint']['path'] == own['path']['pretrain_network_g']
    assert about['metrics']['psnr']['convention'] == 'RGB, 8 bits, crop border 0'
    assert about['versions']['dinoir_plugin'] == __version__
    table = Path('results/test/results.md').read_text().splitlines()
    assert table[0] == '|  | va | dark | average |' and table[3].startswith('| psnr, input | ')
    assert about['checkpoint']['sha256'] in table[-1]
    # 2: other weights of the encoder than in training
    encoder = copy.deepcopy(ENCODER)
    encoder['model_args']['init_values'] = 0.5
    done = steps.train({**own, 'network_g': {**options['network_g'], 'encoder': encoder}}, pipeline=host_tester)
    assert 'network_g.encoder.weights: the weights of' in done.code and 'are others than' in done.code


def compare(steps, options):
    """Guided and unguided, image by image (19)."""
    assert steps.train(unguided(options)).code is None
    said = steps.dinoir('compare', 'experiments/plain', RUN).out
    assert re.search(r'^va +psnr +8 .*(B is|no difference that) .*8 images.*\(one seed each\)', said, re.MULTILINE)
