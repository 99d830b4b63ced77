"""The start-up hook in fresh interpreters, with the real BasicSR and with hosts that something is wrong with.

The plugin has to be installed (``pip install -e .``): the line under test is run by Python's start-up.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLASH = """
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class Restormer:
    pass
"""


def python(*arguments, cwd='/', **env):
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', **env}
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True)


def words(done):
    assert done.returncode == 0, done.stdout + done.stderr
    # BasicSR says so where it finds a class by its suffix
    lines = [line for line in done.stdout.splitlines() if not line.startswith('Name ')]
    return ' '.join(lines).split()


@pytest.fixture
def fake(tmp_path):
    """Make a package called basicsr from the text of its ``__init__.py``; gives back the folder to put on the path."""

    def make(text):
        (tmp_path / 'basicsr').mkdir()
        if text is not None:
            (tmp_path / 'basicsr' / '__init__.py').write_text(text)
        return str(tmp_path)

    return make


def test_start_up_imports_only_the_hook():
    code = "import sys; print(*sorted(m for m in sys.modules if 'dinoir' in m), 'torch' in sys.modules)"
    names = ['core', 'core.version', 'plugin', 'plugin.autoload']
    assert words(python('-c', code))[-6:] == ['dinoir_plugin', *(f'dinoir_plugin.{name}' for name in names), 'False']
    assert 'dinoir_plugin' not in words(python('-c', code, DINOIR_PLUGIN_AUTOLOAD='0'))


def test_plugin_module_as_the_very_first_import_and_in_a_spawned_process(tmp_path):
    (tmp_path / 'script.py').write_text(
        """
from dinoir_plugin.archs.restormer_arch import Restormer
import importlib.machinery, importlib.resources, inspect, multiprocessing
import basicsr, basicsr.train
from basicsr.utils.registry import ARCH_REGISTRY

def child(queue):
    queue.put(ARCH_REGISTRY.get('Restormer').__module__)

if __name__ == '__main__':
    print(ARCH_REGISTRY.get('Restormer') is Restormer)
    print(type(basicsr.__loader__) is importlib.machinery.SourceFileLoader, list(vars(basicsr.__loader__)))
    print('from .archs' in inspect.getsource(basicsr))
    print(importlib.resources.files('basicsr').joinpath('train.py').is_file())
    print(basicsr.train.parse_options is basicsr.parse_options, basicsr.parse_options.__globals__['__name__'])
    context = multiprocessing.get_context('spawn')
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
"""
    )
    done = python('-W', 'error::RuntimeWarning', tmp_path / 'script.py')
    expected = "True True ['name', 'path'] True True True dinoir_plugin.plugin.run_start"
    assert words(done) == [*expected.split(), 'dinoir_plugin.archs.restormer_arch']


def test_host_imported_first_is_served_at_once():
    code = """
import sys, types
from torchvision.transforms.functional import rgb_to_grayscale
gone = sys.modules['torchvision.transforms.functional_tensor'] = types.ModuleType('gone')
gone.rgb_to_grayscale = rgb_to_grayscale
import basicsr
from basicsr.utils.registry import ARCH_REGISTRY
print('dinoir_plugin' in sys.modules, 'Restormer_basicsr' in ARCH_REGISTRY)
import dinoir_plugin
print('Restormer_basicsr' in ARCH_REGISTRY, basicsr.parse_options.__globals__['__name__'])
"""
    done = python('-W', 'error::RuntimeWarning', '-c', code, DINOIR_PLUGIN_AUTOLOAD='0')
    assert words(done) == ['False', 'False', 'True', 'dinoir_plugin.plugin.run_start']


@pytest.fixture
def fork(tmp_path):
    """Make a fork of BasicSR with a Restormer of its own; gives back what a registry finds there, and the warnings."""
    installed = next(path for path in map(Path, sys.path) if (path / 'basicsr' / 'train.py').is_file()) / 'basicsr'
    shutil.copytree(installed, tmp_path / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))

    def run(suffix):
        text = CLASH.replace('register()', f'register(suffix={suffix!r})')
        (tmp_path / 'basicsr' / 'archs' / 'restormer_arch.py').write_text(text)
        code = 'import basicsr; from basicsr.archs import build_network as b; '
        code += 'print(b({"type": "Restormer"}).__module__)'
        done = python('-c', code, PYTHONPATH=str(tmp_path))
        assert words(done) == ['basicsr.archs.restormer_arch']
        return done.stderr

    return run


def test_fork_with_a_class_of_the_same_name_keeps_it_and_the_plugin_its_own(fork):
    assert 'RuntimeWarning' not in fork(suffix=None)


def test_what_cannot_be_registered_is_named_once(fork):
    warned = fork(suffix='basicsr')
    assert warned.count('RuntimeWarning') == 1
    assert "dinoir_plugin.archs.restormer_arch: AssertionError: An object named 'Restormer_basicsr'" in warned
    assert 'DINOIR_PLUGIN_AUTOLOAD=0' in warned


def test_host_without_a_registry_gets_one_warning(fake):
    done = python('-c', 'import basicsr; print(basicsr.old)', PYTHONPATH=fake('old = True\n'))
    assert words(done) == ['True']
    assert done.stderr.count('RuntimeWarning') == 1
    assert "ModuleNotFoundError: No module named 'basicsr.utils'" in done.stderr


def test_error_of_the_host_itself_comes_through_unchanged(fake):
    text = "raise ValueError('broken host')\n"
    code = 'try:\n  import basicsr\nexcept ValueError as error:\n  print(error, error.__cause__, error.__context__)'
    done = python('-c', code, PYTHONPATH=fake(text))
    assert words(done) == ['broken', 'host', 'None', 'None']
    assert done.stderr == ''


def test_folder_called_basicsr_is_left_alone(fake):
    # Without site-packages: a regular package anywhere on the path would win over the bare folder.
    places = [str(Path(__file__).parents[2]), fake(None)]
    code = f'import sys; sys.path += {places}; import dinoir_plugin, basicsr; print(basicsr.__file__)'
    assert words(python('-S', '-W', 'error', '-c', code, PYTHONPATH='')) == ['None']
