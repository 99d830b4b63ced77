"""On the pretended GPU devices are told apart, waiting is seen, and a graph repeats what was recorded."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parent.parent / 'scripts' / 'pretend_gpu.py'
PROGRAM = """
import pytest, torch
from dinoir_plugin.core.transfer import OnTheWay
from dinoir_plugin.nn.cuda_graph import Recording

assert torch.cuda.is_available() and torch.rand(2, device='cuda').is_cuda
net, x = torch.nn.Linear(2, 2).cuda(), torch.ones(3, 2, device='cuda')
with pytest.raises(RuntimeError, match='same device'):
    net(torch.ones(3, 2))
with pytest.raises(TypeError, match='numpy'):
    x.numpy()
torch.cuda.set_sync_debug_mode('error')
with pytest.raises(RuntimeError, match='synchronizing'):
    x.sum().item()
OnTheWay({'x': x})
torch.cuda.set_sync_debug_mode('default')

rate, total = 2.0, torch.zeros((), device='cuda')

def step(given):
    loss = (net(given[0]) * rate).sum()
    loss.backward()
    total.add_(loss.detach())
    return loss

recording = Recording(step, [x])
assert total.item() == 0, 'what is recorded is not computed'
rate = 3.0
for scale in (1, 10):
    expected, before = (net(x * scale) * 2.0).sum(), total.clone()
    assert torch.equal(recording.repeat([x * scale]).detach(), expected.detach())
    assert torch.equal(total, before + expected.detach())
with pytest.raises(RuntimeError, match='capturing'):
    Recording(lambda given: given[0].sum().item(), [x])
"""


@pytest.mark.skipif(not torch.version.cuda or not shutil.which('cc'), reason='needs torch for CUDA and a C compiler')
def test_it_shows_what_a_gpu_would(monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    done = subprocess.run([sys.executable, SCRIPT, '-c', PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
