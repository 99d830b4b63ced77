"""The mends one by one, in this process."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import basicsr
import pytest
import torch

from dinoir_plugin import compat
from dinoir_plugin.compat import dist_launch, output_root, resume_device


@pytest.mark.parametrize('name', [*compat.BEFORE_IMPORT, *compat.AFTER_IMPORT[:-1]])
def test_mend_is_in_place_and_does_nothing_twice(name):
    assert importlib.import_module(f'dinoir_plugin.compat.{name}').mend() is False


# As in Python 3.12, where nothing but setuptools has distutils.
WITHOUT_DISTUTILS = """
import runpy, sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == 'distutils' and 'setuptools' not in sys.modules:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
mend = runpy.run_path(sys.argv[1])['mend']
print(mend(), mend())
from distutils.version import LooseVersion
"""


def test_distutils_comes_back_with_setuptools():
    file = Path(compat.__file__).parent / 'distutils_import.py'
    done = subprocess.run([sys.executable, '-c', WITHOUT_DISTUTILS, file], capture_output=True, text=True)
    assert done.stdout.split() == ['True', 'False'], done.stderr


# Resuming


@pytest.fixture
def run(tmp_path):
    """Options of a run with two states, of which the later one is no later name."""
    for iteration in (9, 10):
        torch.save({'iter': iteration, 'weight': torch.ones(2)}, tmp_path / f'{iteration}.state')
    path = {'training_states': str(tmp_path), 'models': 'm', 'resume_state': None}
    return {'name': 'n', 'auto_resume': False, 'path': path, 'network_g': {}}


def test_states_are_looked_for_in_the_runs_own_folder_and_read_without_cuda(run, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    resumed = basicsr.train.load_resume_state
    assert resumed is resume_device.load_resume_state is basicsr.load_resume_state
    assert resumed(run) is None
    run['path']['resume_state'] = str(tmp_path / '9.state')
    assert resumed(run)['iter'] == 9
    run['auto_resume'] = True
    assert resumed(run)['iter'] == 10
    assert run['path']['resume_state'] == str(tmp_path / '10.state')
    assert run['path']['pretrain_network_g'] == 'm/net_g_10.pth' and run['auto_resume'] is True
    run['path'].update(training_states=str(tmp_path / 'none'))
    assert resumed(run) is None


def test_with_cuda_the_host_reads(run, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(resume_device, '_host', lambda opt: calls.append(opt) or {'iter': 0})
    run['auto_resume'] = True
    assert basicsr.train.load_resume_state(run) == {'iter': 0}
    assert calls[0]['path']['resume_state'] == str(tmp_path / '10.state') and not calls[0]['auto_resume']


def test_only_the_hosts_own_function_is_taken_over():
    source = Path(basicsr.train.__file__).read_text()
    script = {'__name__': 'script'}
    exec(compile(source, 'train.py', 'exec'), script)
    script['load_resume_state'] = resume_device._host
    assert resume_device.take_over(script)
    assert script['load_resume_state'] is resume_device.load_resume_state
    exec(compile(source, 'train.py', 'exec'), script)
    assert resume_device.take_over(script)
    assert script['load_resume_state'] is resume_device.load_resume_state

    def own(opt):
        return None

    script['load_resume_state'] = own
    assert not resume_device.take_over(script) and script['load_resume_state'] is own
    assert not resume_device.take_over({})


# Launching


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


@pytest.mark.parametrize(('path', 'installed'), [
    ('/x/lib/python3.11/site-packages/basicsr', True), ('/usr/lib/python3/dist-packages', True), ('/x/BasicSR', False),
])  # fmt: skip
def test_where_pip_installs_packages_is_known(path, installed):
    assert output_root.is_installed(path) is installed


@pytest.mark.parametrize(('end', 'left'), [('', False), ('sys.exit(75)', False), ('1 / 0', True)])
def test_a_rank_destroys_its_process_group_at_exit_unless_an_error_ends_it(end, left):
    script = f"""
import atexit, os, sys
import torch.distributed as dist
atexit.register(lambda: print('left', dist.is_initialized()))
from basicsr.utils import dist_util
os.environ.update(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='localhost', MASTER_PORT='0')
dist_util._init_dist_pytorch('gloo')
{end}
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''}, check=False)  # fmt: skip
    assert f'left {left}' in done.stdout, done.stderr
