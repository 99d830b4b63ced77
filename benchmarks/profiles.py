"""Where the time of a forward pass and of a training step goes."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.forward import guided_restormer, image
from benchmarks.measure import Form, no_grad
from benchmarks.training import our_step
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from dinoir_plugin.methods.dinoir.psf import PixelSemanticFusion

GROUPS = {
    'matrix products': ('mm', 'bmm', 'addmm'),
    'convolutions': ('mkldnn_convolution', '_slow_conv2d_forward'),
    'their backward pass': ('convolution_backward',),
    'GELU and its backward pass': ('gelu', 'gelu_backward'),
    'layer norm and its backward pass': ('native_layer_norm', 'native_layer_norm_backward'),
}


def table() -> str:
    """Write the shares of groups of operations, a line for each kind of work."""
    net, x = Restormer().eval(), image(256)
    lines = [f'Restormer forward, 256 px: {shares(no_grad(lambda: net(x)))}']
    lines.append(f'training step, batch 2, 128 px: {shares(our_step({}))}')
    lines.append(f'guided forward, 256 px: {guidance()}')
    return '\n'.join(lines)


def shares(form: Form) -> str:
    """Write each group's share of the time that torch's profiler counts in operations, after two passes to warm up."""
    for _ in range(2):
        form()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        form()
    times = {event.key.removeprefix('aten::'): event.self_cpu_time_total for event in recorded.key_averages()}
    total = sum(times.values())
    words = [f'{name} {sum(times.pop(key, 0) for key in keys) / total:.0%}' for name, keys in GROUPS.items()]
    return ', '.join([*words, f'the rest {sum(times.values()) / total:.0%}'])


def guidance(runs: int = 7) -> str:
    """Measure the time inside PSF and the fusions over the time of the whole pass, the encoder's features given."""
    net, x = guided_restormer(), image(256)
    started: list[float] = []
    inside = 0.0

    def enter(*_: Any) -> None:
        started.append(time.perf_counter())

    def leave(*_: Any) -> None:
        nonlocal inside
        inside += time.perf_counter() - started.pop()

    for module in net.modules():
        if isinstance(module, (DRFusion, PixelSemanticFusion)):
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)
    with torch.no_grad():
        encodings = net.encode(x)
        net(x, encodings=encodings)
        inside, begin = 0.0, time.perf_counter()
        for _ in range(runs):
            net(x, encodings=encodings)
    return f'PSF and fusions {inside / (time.perf_counter() - begin):.1%}'
