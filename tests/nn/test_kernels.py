"""See without a GPU that kernels of our own compute what torch does, and that they compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.nn import gating, layer_norm
from dinoir_plugin.nn.kernels import TYPES, work

needs_triton = pytest.mark.skipif(not torch.version.cuda, reason='needs triton, which comes with torch for CUDA')


@needs_triton
def test_kernels_give_what_torch_gives():
    script = Path(__file__).with_name('interpreted_kernels.py')
    env = {**os.environ, 'TRITON_INTERPRET': '1', 'PYTHONPATH': os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shares = [float(line) for line in done.stdout.split()]
    assert len(shares) == 3 * len(TYPES) * 2 + 3 and max(shares) <= 1


def compiled(kernel, capability, kind, **known):
    """Compile a kernel for a GPU that is not here; what is not known is of this kind."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = {'pixels': 'i32', 'count': 'i64', 'grad_weight': '*fp32', 'grad_bias': '*fp32'}
    kinds.update(dict.fromkeys(known, 'constexpr'))
    signature = {name: kinds.get(name, f'*{kind}') for name in kernel.arg_names}
    return triton.compile(ASTSource(kernel, signature, known), target=GPUTarget('cuda', capability, 32)).asm['cubin']


@needs_triton
@pytest.mark.parametrize('capability', [75, 90])
@pytest.mark.parametrize('kind', ['fp32', 'bf16'])
def test_kernels_compile_for_gpus_that_are_not_here(capability, kind):
    from dinoir_plugin.nn import gate_kernel, norm_kernel

    for channels, columns in ((48, 64), (127, 128)):
        shape = {'eps': 1e-5, 'channels': channels, 'columns': columns, 'rows': 2048 // columns}
        assert compiled(norm_kernel.forward_kernel, capability, kind, **shape)
        assert compiled(norm_kernel.forward_kernel, capability, kind, bias=None, **shape)
        assert compiled(norm_kernel.backward_kernel, capability, kind, **shape)
        for kernel in (gate_kernel.forward_kernel, gate_kernel.backward_kernel):
            assert compiled(kernel, capability, kind, channels=channels, tile=gate_kernel.TILE)


@pytest.mark.parametrize('with_bias', [True, False])
def test_without_a_gpu_it_is_torch_own(with_bias):
    x, weight = torch.randn(2, 5, 4, 6), torch.rand(6)
    bias = torch.rand(6) if with_bias else None
    assert torch.equal(layer_norm.layer_norm(x, weight, bias, 1e-6), F.layer_norm(x, (6,), weight, bias, 1e-6))
    net = layer_norm.ChannelLayerNorm(6, eps=1e-6)
    assert torch.equal(net(x), torch.nn.LayerNorm(6, eps=1e-6)(x)) and list(net.state_dict()) == ['weight', 'bias']


def fails(*_):
    raise RuntimeError('Failed to find C compiler')


@needs_triton
@pytest.mark.parametrize(('trial', 'problem'), [(fails, 'find C compiler'), (lambda *_: float('nan'), 'other results')])
def test_kernels_that_fail_are_left_and_said_to_be(trial, problem):
    with pytest.warns(UserWarning, match=problem):
        assert not work('gates', trial, torch.device('cpu'), torch.float32, 48)
    assert work('gates', lambda *_: 0.5, torch.device('cpu'), torch.float32, 48)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', TYPES)
@pytest.mark.parametrize('channels', [8, 48, 127, 768])
def test_on_a_gpu_kernels_are_used_and_right(dtype, channels):
    device = torch.device('cuda', 0)
    for what, module in (('layer norms', layer_norm), ('gates', gating)):
        assert module.trial(device, dtype, channels) <= 1 and work(what, module.trial, device, dtype, channels)
    x = torch.randn(1, 40, 30, 2 * channels, device=device, dtype=dtype)
    near = {'rtol': 2 * torch.finfo(dtype).eps, 'atol': 1e-5}
    normed = layer_norm.layer_norm(x, torch.ones(2 * channels, device=device), None, 1e-5)
    torch.testing.assert_close(normed.double(), F.layer_norm(x.double(), (2 * channels,)), **near)
    gates, values = x.double().chunk(2, dim=-1)
    torch.testing.assert_close(gating.gate(x).double(), F.gelu(gates) * values, **near)
