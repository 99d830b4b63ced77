"""What happens when a trainer reads its options."""

import sys
from pathlib import Path

import pytest
from basicsr.utils import options as host_options

from dinoir_plugin.compat import output_root
from dinoir_plugin.core import freed_memory
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.models.restoration_model import RestorationModel


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
        ('model_type: DINOIRModel\na: 1\na: 2', "o.yml: line 3: key 'a' stands twice, first in line 2"),
        (
            'model_type: DINOIRModel\na: !!python/tuple [1]',
            "o.yml: line 2: the tag '!!python/tuple' is refused: options files hold plain values",
        ),
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

    monkeypatch.setattr('dinoir_plugin.preflight.schema.check_schema', lambda opt, is_train: None)
    monkeypatch.setattr('dinoir_plugin.preflight.builds.check_builds', refuse)
    base = GOOD.replace('datasets: {}\n', '') if ours.startswith('datasets') else GOOD
    with pytest.raises(SystemExit) as caught:
        parse(base + f'path: {{}}\n{ours}\n')
    assert calls == [True]
    assert caught.value.code.startswith('o.yml: network_g.x: no such option')
    assert 'SRModel' in parse(GOOD + 'path: {}\nmodel_type: SRModel\n')['model_type']
    assert calls == [True]


@pytest.mark.parametrize(('gpus', 'is_train', 'keeps'), [(0, True, True), (0, False, False), (1, True, False)])
def test_a_training_on_the_cpu_keeps_the_memory_that_it_frees(parse, monkeypatch, gpus, is_train, keeps):
    monkeypatch.setattr('dinoir_plugin.preflight.schema.check_schema', lambda *_: None)
    monkeypatch.setattr('dinoir_plugin.preflight.builds.check_builds', lambda *_: None)
    monkeypatch.setattr(RestorationModel, 'options_file', '')
    monkeypatch.setattr(RestorationModel.stop_request, 'keyboard', False)
    calls = []
    monkeypatch.setattr(freed_memory, 'keep', lambda: calls.append(1))
    parse(f'model_type: DINOIRModel\npath: {{}}\n{GOOD}'.replace('num_gpu: 0', f'num_gpu: {gpus}'), is_train=is_train)
    assert bool(calls) == keeps
