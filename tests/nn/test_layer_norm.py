"""Layer norm by kernels is torch's; what they compute and that they compile is seen without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.nn import layer_norm as norms
from dinoir_plugin.nn.layer_norm import TYPES, ChannelLayerNorm, layer_norm, trial, works

needs_triton = pytest.mark.skipif(not torch.version.cuda, reason='needs triton, which comes with torch for CUDA')


@needs_triton
def test_kernels_give_what_torch_gives():
    script = Path(__file__).with_name('interpreted_norms.py')
    env = {**os.environ, 'TRITON_INTERPRET': '1', 'PYTHONPATH': os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shares = [float(line) for line in done.stdout.split()]
    assert len(shares) == 6 * len(TYPES) + 3 and max(shares) <= 1


@needs_triton
@pytest.mark.parametrize('capability', [75, 90])
@pytest.mark.parametrize('kind', ['fp32', 'bf16', 'fp16'])
def test_kernels_compile_for_gpus_that_are_not_here(capability, kind):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dinoir_plugin.nn import norm_kernel

    for kernel in (norm_kernel.forward_kernel, norm_kernel.backward_kernel):
        for channels in (48, 100):
            columns = triton.next_power_of_2(channels)
            known = {'eps': 1e-5, 'channels': channels, 'columns': columns, 'rows': 2048 // columns}
            if channels == 100 and 'bias' in kernel.arg_names:
                known['bias'] = None
            kinds = {'pixels': 'i32', 'grad_weight': '*fp32', 'grad_bias': '*fp32', **dict.fromkeys(known, 'constexpr')}
            signature = {name: kinds.get(name, f'*{kind}') for name in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs=known)
            assert triton.compile(source, target=GPUTarget('cuda', capability, 32)).asm['cubin']


@pytest.mark.parametrize('with_bias', [True, False])
def test_without_a_gpu_it_is_torch_own(with_bias):
    x, weight = torch.randn(2, 5, 4, 6), torch.rand(6)
    bias = torch.rand(6) if with_bias else None
    assert torch.equal(layer_norm(x, weight, bias, 1e-6), F.layer_norm(x, (6,), weight, bias, 1e-6))
    net = ChannelLayerNorm(6, eps=1e-6)
    assert torch.equal(net(x), torch.nn.LayerNorm(6, eps=1e-6)(x)) and list(net.state_dict()) == ['weight', 'bias']


def fails(*_):
    raise RuntimeError('Failed to find C compiler')


@needs_triton
@pytest.mark.parametrize(('found', 'problem'), [(fails, 'find C compiler'), (lambda *_: float('nan'), 'other results')])
def test_kernels_that_fail_are_left_and_said_to_be(monkeypatch, found, problem):
    monkeypatch.setattr(norms, 'trial', found)
    with pytest.warns(UserWarning, match=problem):
        assert not works.__wrapped__(torch.device('cpu'), torch.float32, 48)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', TYPES)
@pytest.mark.parametrize('channels', [8, 48, 100, 768])
def test_on_a_gpu_kernels_are_used_and_right(dtype, channels):
    device = torch.device('cuda', 0)
    assert trial(device, dtype, channels) <= 1 and works(device, dtype, channels)
    x = torch.randn(1, 40, 30, channels, device=device, dtype=dtype)
    out = layer_norm(x, torch.ones(channels, device=device), None, 1e-5)
    expected = F.layer_norm(x.double(), (channels,))
    torch.testing.assert_close(out.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-5)
