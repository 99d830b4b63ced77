"""The mends one by one, in this process."""

import importlib
import os
import pickle
import random
import sys
from collections import Counter, OrderedDict, defaultdict
from functools import partial
from pathlib import Path

import basicsr
import numpy as np
import pytest
import torch
import yaml
from basicsr.utils import options as host_options
from torch.utils.data import BatchSampler, DataLoader, Dataset

from dinoir_plugin import compat
from dinoir_plugin.compat import dist_launch, output_root
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.plugin import data_loader, resume, safe_yaml, worker_seed


@pytest.mark.parametrize('name', [*compat.BEFORE_IMPORT, *compat.AFTER_IMPORT[:-1]])
def test_mend_is_in_place_and_does_nothing_twice(name):
    assert importlib.import_module(f'dinoir_plugin.compat.{name}').mend() is False


def test_functions_are_replaced_under_every_name():
    places = [basicsr, basicsr.train, basicsr.test, host_options]
    assert {id(place.parse_options) for place in places} == {id(host_options.parse_options)}
    assert basicsr.train.load_resume_state is basicsr.load_resume_state is resume.load_resume_state


# Options files


def load(text):
    return yaml.load(text, Loader=host_options.ordered_yaml()[0])


def test_yaml_keeps_order_floats_and_merges():
    opt = load('b: {lr: !!float 1e-4}\na: &x {k: 1, l: 2}\nc: {<<: *x, l: 3}\n')
    assert list(opt) == ['b', 'a', 'c']
    assert opt['b']['lr'] == 1e-4
    assert opt['c'] == {'k': 1, 'l': 3}
    assert isinstance(opt['c'], OrderedDict)


@pytest.mark.parametrize(
    ('text', 'line', 'words'),
    [
        ('a:\n  x: 1\n  y: 2\n  x: 3\n', 4, "'x' stands twice, first in line 2"),
        ('{a: 1, a: 2}', 1, "'a' stands twice, first in line 1"),
        ('? [1, 2]\n: 3\n', 1, 'plain value'),
        ('a: 1\nb: !!python/tuple [1, 2]\n', 2, "'!!python/tuple' is refused"),
    ],
)
def test_yaml_refuses(text, line, words):
    with pytest.raises(yaml.constructor.ConstructorError) as caught:
        load(text)
    assert words in caught.value.problem
    assert caught.value.problem_mark.line + 1 == line


def test_yaml_leaves_the_library_as_it_was():
    assert type(yaml.load('a: 1', Loader=yaml.CSafeLoader)) is dict
    loader, dumper = host_options.ordered_yaml()
    assert yaml.dump(OrderedDict(b=1, a=2), Dumper=dumper) == 'b: 1\na: 2\n'
    assert yaml.CDumper.yaml_representers[OrderedDict] is not dumper.yaml_representers[OrderedDict]
    assert issubclass(loader, yaml.constructor.SafeConstructor)
    assert safe_yaml.OptionsLoader.yaml_constructors is not yaml.SafeLoader.yaml_constructors


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Run parse_options on a text from an empty working directory; gives back the options."""

    def run(text, *more, root='/opt/env/lib/python3.11/site-packages', is_train=True):
        monkeypatch.chdir(tmp_path)
        if text is not None:
            Path('o.yml').write_text(text)
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', 'o.yml', *more])
        try:
            return host_options.parse_options(root, is_train=is_train)[0]
        finally:
            assert {path.name for path in tmp_path.iterdir()} <= {'o.yml'}

    return run


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'o.yml: cannot read the options file: No such file or directory'),
        ('a: b: c', 'o.yml: line 1: mapping values are not allowed in this context'),
        ('a: 1\na: 2', "o.yml: line 2: key 'a' stands twice, first in line 1"),
        ('- a', 'o.yml: expected a mapping of options, got list'),
        ('', 'o.yml: expected a mapping of options, got NoneType'),
    ],
)
def test_unusable_options_file_is_one_line(parse, text, message):
    with pytest.raises(SystemExit) as caught:
        parse(text)
    assert caught.value.code == message


def test_missing_argument_is_the_host_parsers_business(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt'])
    with pytest.raises(SystemExit, match='2'):
        host_options.parse_options('/')
    assert 'usage' in capsys.readouterr().err


GOOD = 'name: n\nnum_gpu: 0\nmanual_seed: 1\ndatasets: {}\nlogger: {}\n'


@pytest.mark.parametrize(
    ('path', 'more', 'root', 'expected'),
    [
        ('{}', (), '/opt/env/lib/python3.11/site-packages', '{cwd}/experiments/n'),
        ('{}', (), '/src/BasicSR', '/src/BasicSR/experiments/n'),
        ('{experiments_root: runs}', (), '/src/BasicSR', 'runs/n'),
        ('{experiments_root: runs}', (), '/opt/env/lib/python3/dist-packages', 'runs/n'),
        ('{experiments_root: ~/runs}', (), '/src/BasicSR', '{home}/runs/n'),
        ('{experiments_root: runs}', ('--debug',), '/src/BasicSR', 'runs/debug_n'),
        ('{experiments_root: a}', ('--force_yml', 'path:experiments_root=b', 'name=m'), '/src/BasicSR', 'b/m'),
        (
            '{experiments_root: a}',
            ('--force_yml', 'path:experiments_root=~'),
            '/src/BasicSR',
            '/src/BasicSR/experiments/n',
        ),
    ],
)
def test_place_of_a_training_run(parse, tmp_path, path, more, root, expected):
    opt = parse(GOOD + f'path: {path}\n', *more, root=root)
    expected = expected.format(cwd=tmp_path, home=Path.home())
    assert opt['path'] == {
        'experiments_root': expected,
        'models': f'{expected}/models',
        'training_states': f'{expected}/training_states',
        'log': expected,
        'visualization': f'{expected}/visualization',
    }


@pytest.mark.parametrize(('path', 'expected'), [('{}', '{cwd}/results/n'), ('{results_root: out}', 'out/n')])
def test_place_of_a_test_run(parse, tmp_path, path, expected):
    opt = parse(GOOD + f'path: {path}\n', is_train=False)
    expected = expected.format(cwd=tmp_path)
    assert opt['path'] == {'results_root': expected, 'log': expected, 'visualization': f'{expected}/visualization'}


def test_relocated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path('/env/site-packages')
    assert output_root.relocated('/env/site-packages/tb_logger/n', root) == str(tmp_path / 'tb_logger' / 'n')
    assert output_root.relocated('/elsewhere/n', root) == '/elsewhere/n'


@pytest.mark.parametrize(
    'ours',
    ['model_type: DINOIRModel', 'network_g: {type: DINOIRArch}', 'datasets: {train: {type: MixedDegradationDataset}}'],
)
def test_options_of_the_plugin_are_checked(parse, monkeypatch, ours):
    calls = []

    def refuse(opt, is_train):
        calls.append(is_train)
        raise OptionsError('network_g.x', 'no such option', "did you mean 'y'?")

    monkeypatch.setattr('dinoir_plugin.preflight.check_schema', lambda opt, is_train: None)
    monkeypatch.setattr('dinoir_plugin.preflight.check_builds', refuse)
    base = GOOD.replace('datasets: {}\n', '') if ours.startswith('datasets') else GOOD
    with pytest.raises(SystemExit) as caught:
        parse(base + f'path: {{}}\n{ours}\n')
    assert calls == [True]
    assert caught.value.code.startswith('o.yml: network_g.x: no such option')
    assert 'SRModel' in parse(GOOD + 'path: {}\nmodel_type: SRModel\n')['model_type']
    assert calls == [True]


# Resuming


def test_state_is_read_without_running_code(tmp_path):
    state = {'iter': 3, 'schedulers': [{'milestones': Counter([2]), 'd': defaultdict(dict)}], 't': torch.ones(2)}
    torch.save(state, tmp_path / '3.state')
    assert resume.read_state(tmp_path / '3.state')['schedulers'] == state['schedulers']

    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/ran',)

    torch.save({'iter': Evil()}, tmp_path / '4.state')
    with pytest.raises(FileError, match=r'4\.state is not'):
        resume.read_state(tmp_path / '4.state')
    assert not (tmp_path / 'ran').exists()


def test_only_the_hosts_own_function_is_taken_over():
    source = Path(basicsr.train.__file__).read_text()
    script = {'__name__': 'script'}
    exec(compile(source, 'train.py', 'exec'), script)
    resume.take_over(script)
    assert script['load_resume_state'] is resume.load_resume_state

    def own(opt):
        return None

    script['load_resume_state'] = own
    resume.take_over(script)
    assert script['load_resume_state'] is own


# Loading data


class Draws(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.random.randint(2**31), random.getrandbits(31)


class Composing(Draws):
    def batch_sampler(self, sampler, batch_multiplier=1):
        return BatchSampler(sampler, 3 * batch_multiplier, drop_last=False)


OPT = {'phase': 'train', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 1}


def epochs():
    torch.manual_seed(5)
    loader = basicsr.data.build_dataloader(Draws(), OPT, num_gpu=0, sampler=range(4), seed=5)
    return [[value for batch in loader for pair in batch for value in pair.tolist()] for _ in range(2)]


def test_workers_draw_anew_each_epoch_and_the_same_in_each_run():
    first, second = epochs()
    assert not set(first) & set(second)
    assert [first, second] == epochs()
    assert len(set(first)) == len(first)


def test_worker_init_can_be_pickled_for_spawned_workers():
    init = partial(basicsr.data.worker_init_fn, num_workers=1, rank=0, seed=1)
    assert pickle.loads(pickle.dumps(init)).func is worker_seed.worker_init_fn


def test_composed_batches():
    loader = basicsr.data.build_dataloader(Composing(), OPT, num_gpu=0, sampler=range(4), seed=5)
    assert [len(batch[0]) for batch in loader] == [3, 1]
    assert loader.num_workers == 1
    arguments = data_loader.loader_arguments(Composing(), OPT, 2, False, range(4), None)
    assert (arguments['num_workers'], arguments['batch_sampler'].batch_size) == (2, 6)
    assert arguments['worker_init_fn'].keywords == {'seed': None}

    cpu = basicsr.data.build_dataloader(Composing(), {**OPT, 'prefetch_mode': 'cpu'}, sampler=range(4), seed=5)
    assert type(cpu).__name__ == 'PrefetchDataLoader'
    assert [len(batch[0]) for batch in cpu] == [3, 1]


def test_other_loaders_are_the_hosts():
    assert basicsr.data.build_dataloader(Draws(), OPT, sampler=range(4), seed=5).batch_size == 2
    val = basicsr.data.build_dataloader(Composing(), {'phase': 'val'})
    assert isinstance(val, DataLoader)
    assert val.batch_size == 1


def test_slurm_environment(tmp_path, monkeypatch):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\necho node7\necho node8\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    for name, value in {'PROCID': '3', 'NTASKS': '4', 'LOCALID': '1', 'NODELIST': 'node[7-8]'}.items():
        monkeypatch.setenv(f'SLURM_{name}', value)
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'WORLD_SIZE', 'RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '')  # so that they are put back afterwards
    monkeypatch.delenv('MASTER_PORT')
    dist_launch._slurm_environment(None)
    found = [os.environ[name] for name in ('MASTER_ADDR', 'MASTER_PORT', 'WORLD_SIZE', 'RANK', 'LOCAL_RANK')]
    assert found == ['node7', '29500', '4', '3', '1']
