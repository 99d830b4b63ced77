"""The script that checks a GPU goes on whatever a part does; what it runs is tested elsewhere, and on a GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / 'scripts' / 'gpu_check.py'


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location('gpu_check', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(code):
    return [sys.executable, '-c', code]


def test_parts_that_fail_or_hang_are_reported_and_the_others_run(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, 'PART_LIMIT', 20)
    check = script.Check(5, tmp_path / 'found.json', {'gpu': 'none'}, tmp_path)
    assert check.part('good', python("print('first'); print('second')")) == 'first\nsecond\n'
    assert check.part('bad', python("raise ValueError('of its own')")) == ''
    # what it starts keeps its output open
    child = 'import subprocess, sys, time; subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]); '
    monkeypatch.setattr(script, 'PART_LIMIT', 11)
    check.part('hanging', python(f"{child}print('begun', flush=True); time.sleep(600)"))
    with check.surviving('broken'):
        raise KeyError('row')
    check.end = 0
    check.part('late', python('pass'))
    parts = json.loads((tmp_path / 'found.json').read_text())['parts']
    assert list(parts) == ['good', 'bad', 'hanging', 'broken', 'late']
    assert parts['good']['last line'] == 'second'
    assert 'status 1' in parts['bad']['failed'] and 'ValueError: of its own' in parts['bad']['failed']
    assert 'not done after 11 s: begun' in parts['hanging']['failed']
    assert parts['broken']['failed'].startswith('KeyError') and parts['late'] == {'left out': 'no time'}


def test_parts_know_the_plugin_and_only_those_asked_for_run(script, tmp_path):
    check = script.Check(5, tmp_path / 'found.json', {}, tmp_path, only=['step'])
    code = "import sys; print('dinoir_plugin.plugin.autoload' in [type(one).__module__ for one in sys.meta_path])"
    assert check.part('step, bf16', python(code)) == 'True\n'
    assert check.part('forward', python(code)) == '' and list(check.found) == ['step, bf16']


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_so():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == 'expected a GPU that torch can use, found none\n'
