"""Installing, running and removing the plugin, with real wheels in throw-away virtual environments."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import setuptools

REPOSITORY = Path(__file__).parents[1]
PTH = 'dinoir_plugin_autoload.pth'
ARMED = "import sys; print('dinoir_plugin' in sys.modules, 'torch' in sys.modules, sys.meta_path[0].__module__)"


def run(*command, cwd='/', **env):
    arguments = [str(part) for part in command]
    env = {**os.environ, 'PYTHONPATH': '', **env}
    done = subprocess.run(arguments, capture_output=True, text=True, env=env, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def pip(*arguments, **env):
    return run(sys.executable, '-m', 'pip', '--disable-pip-version-check', *arguments, **env)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of what packaging reads, so that no build folder appears in the working tree."""
    folder = tmp_path_factory.mktemp('source') / 'dinoir'
    ignore = shutil.ignore_patterns('__pycache__')
    for name in ('dinoir_plugin', 'options'):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', PTH, 'LICENSE'):
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    pip('wheel', '--no-deps', '--no-build-isolation', '-w', folder, source)
    return next(folder.glob('*.whl'))


class Environment:
    """An empty virtual environment that sees the packages of the one the tests run in, when asked to."""

    def __init__(self, folder):
        venv.create(folder, symlinks=True)
        self.python = folder / 'bin' / 'python'
        self.site = next(folder.glob('lib/python*/site-packages'))
        (self.site / 'kept').touch()  # pip removes a folder that an uninstall leaves empty

    def pip(self, *arguments, **env):
        return pip('--python', self.python, *arguments, **env)

    def run(self, *arguments, **env):
        return run(self.python, *arguments, **env)

    def names(self):
        return {path.name for path in self.site.iterdir()} - {'__pycache__'}

    def see_outside(self):
        # Only now: pip must not find the plugin that is installed outside.
        (self.site / 'outside.pth').write_text(sysconfig.get_path('purelib') + '\n')


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / 'venv')


def test_autoload_file_is_one_line_that_does_not_fail_without_the_package():
    text = (REPOSITORY / PTH).read_text()
    assert text.count('\n') == 1
    assert text.startswith('import ')  # site runs no other lines
    run(sys.executable, '-I', '-S', '-c', text)


def test_wheel_and_source_distribution_carry_more_than_modules(source, wheel, tmp_path):
    options = {path.relative_to(source).as_posix() for path in (source / 'options').rglob('*.yml')}
    data = {path.relative_to(source).as_posix() for path in (source / 'dinoir_plugin').rglob('*.yml')}
    assert 'options/dinoir/train_psf.yml' in options and 'dinoir_plugin/experiments/papers/dinoir/budgets.yml' in data
    names = zipfile.ZipFile(wheel).namelist()
    carried = {name.replace('options/', 'dinoir_plugin/options_files/', 1) for name in options}
    assert set(names) >= {PTH, 'dinoir_plugin/py.typed', *data, *carried}
    assert {name.split('/')[0] for name in names} == {PTH, 'dinoir_plugin', 'dinoir_plugin-0.1.0.dist-info'}

    subprocess.run([sys.executable, 'setup.py', '-q', 'sdist', '-d', tmp_path], cwd=source, check=True)
    with tarfile.open(next(tmp_path.glob('*.tar.gz'))) as archive:
        assert set(archive.getnames()) >= {f'dinoir_plugin-0.1.0/{name}' for name in (PTH, *options, *data)}


def test_installed_wheel_registers_and_leaves_nothing(environment, wheel):
    before = environment.names()
    environment.pip('install', '--no-deps', wheel)
    assert PTH in environment.names()
    assert environment.run('-c', ARMED).stdout.split() == ['True', 'False', 'dinoir_plugin.plugin.autoload']
    assert environment.run('-c', ARMED, DINOIR_PLUGIN_AUTOLOAD='0').stdout.split()[0] == 'False'

    environment.see_outside()
    code = 'import basicsr, dinoir_plugin; from basicsr.utils.registry import ARCH_REGISTRY as r; '
    code += "print(r.get('Restormer').__module__, dinoir_plugin.__file__)"
    done = environment.run('-W', 'error::RuntimeWarning', '-c', code)
    # the last line: BasicSR says before that it found the name with its suffix
    assert done.stdout.splitlines()[-1].split() == [
        'dinoir_plugin.archs.restormer_arch',
        str(environment.site / 'dinoir_plugin' / '__init__.py'),
    ]

    (environment.site / 'outside.pth').unlink()
    environment.pip('uninstall', '-y', 'dinoir_plugin')
    assert environment.names() == before


def test_an_installed_wheel_prints_options_and_reproduces(environment, wheel, tmp_path):
    environment.pip('install', '--no-deps', wheel)
    environment.see_outside()
    dinoir = ('-m', 'dinoir_plugin')
    listed = environment.run(*dinoir, 'options').stdout.split()
    assert listed[:3] == ['test_dinoir_all4', 'train_dinoir_all4', 'train_dinoir_quickstart']
    written = (REPOSITORY / 'options' / 'dinoir' / 'train_psf.yml').read_text()
    assert environment.run(*dinoir, 'options', 'dinoir/train_psf').stdout == written
    assert 'table1     Four tasks, one model' in environment.run(*dinoir, 'reproduce', 'list', cwd=tmp_path).stdout
    # the base file and the maker of the images are found, too
    code = "from dinoir_plugin.experiments import runs, variants; e = variants.Experiments(); runs.prepare(e, 'tiny'); "
    code += "print(len(runs.jobs(e, 'table3', 'tiny', 1, None)))"
    assert environment.run('-c', code, cwd=tmp_path).stdout.splitlines()[-1] == '4'
    assert len(list((tmp_path / 'datasets' / 'quickstart' / 'heldout').iterdir())) == 8


def test_editable_install_arms_leaves_nothing_and_survives_a_moved_source(environment, source, tmp_path):
    checkout = shutil.copytree(source, tmp_path / 'checkout')
    before = environment.names()
    (tmp_path / 'build').mkdir()
    for path in Path(setuptools.__file__).parents[1].glob('*setuptools*'):
        (tmp_path / 'build' / path.name).symlink_to(path)
    (tmp_path / 'build' / '_distutils_hack').symlink_to(Path(setuptools.__file__).parents[1] / '_distutils_hack')
    arguments = ('--no-deps', '--no-build-isolation', '-e', checkout)
    environment.pip('install', *arguments, PYTHONPATH=str(tmp_path / 'build'))
    assert PTH in environment.names()
    assert environment.run('-c', ARMED).stdout.split() == ['True', 'False', 'dinoir_plugin.plugin.autoload']
    # the options files are those of the checkout
    assert not (checkout / 'dinoir_plugin' / 'options_files').exists()
    code = 'from dinoir_plugin.core.options_files import options_file as f; print(f("train_dinoir_all4"))'
    assert environment.run('-c', code).stdout == f'{checkout / "options" / "train_dinoir_all4.yml"}\n'

    checkout.rename(tmp_path / 'moved')
    done = environment.run('-c', ARMED)
    assert done.stdout.startswith('False')
    assert done.stderr == ''

    environment.pip('uninstall', '-y', 'dinoir_plugin')
    assert environment.names() == before


def test_tensorboard_starts():
    """A tensorboard beside the tb-nightly that BasicSR requires has each plugin twice, and neither starts."""
    run(sys.executable, '-c', 'import pkg_resources')
    assert importlib.metadata.packages_distributions()['tensorboard'] == ['tb-nightly']
