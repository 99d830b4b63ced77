"""Images in folders, and the command line."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True, scope='package')
def one_thread():
    """Here as in the processes that tests start: sums over several threads differ in the last bit."""
    before, environment = torch.get_num_threads(), os.environ.get('OMP_NUM_THREADS')
    torch.set_num_threads(1)
    os.environ['OMP_NUM_THREADS'] = '1'
    yield
    torch.set_num_threads(before)
    os.environ.pop('OMP_NUM_THREADS')
    if environment is not None:
        os.environ['OMP_NUM_THREADS'] = environment


@pytest.fixture
def folder(tmp_path, photo):
    """Three images, one of them in a folder of its own, and a file that is none."""
    (tmp_path / 'in' / 'sub').mkdir(parents=True)
    for name, image in (('a.png', photo), ('b.jpg', photo[:64]), ('sub/c.png', photo[::-1])):
        Image.fromarray(image).save(tmp_path / 'in' / name)
    (tmp_path / 'in' / 'notes.txt').write_text('bread, milk')
    return tmp_path / 'in'


def dinoir(*words, **options):
    """Run the command line in a process of its own."""
    arguments = [sys.executable, '-m', 'dinoir_plugin', *map(str, words)]
    done = subprocess.run(arguments, capture_output=True, text=True, **options)
    assert 'Traceback' not in done.stderr, done.stderr
    return done
