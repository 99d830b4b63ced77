"""Single layers on one GPU, each beside another way to compute it: rows of benchmarks.gpu."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.measure import in_turns, paired
from dinoir_plugin.nn.cuda_graph import Recording
from dinoir_plugin.nn.layer_norm import layer_norm
from dinoir_plugin.nn.restormer_blocks import FeedForward, LayerNorm

RUNS = 15
# from a feature to another
Way = Callable[[Tensor], Tensor]


def norms(channels: int, pixels: int, device: str = 'cuda', runs: int = RUNS) -> dict[str, float]:
    """Time layer norm in bf16 by the kernels, alone and with its backward pass, beside torch's."""
    x = torch.randn(pixels, channels, device=device, dtype=torch.bfloat16, requires_grad=True)
    weight, bias = (torch.ones(channels, device=device, dtype=x.dtype, requires_grad=True) for _ in range(2))
    ways: dict[str, Way] = {
        'ours': lambda x: layer_norm(x, weight, bias, 1e-5),
        'against': lambda x: F.layer_norm(x, (channels,), weight, bias, 1e-5),
    }
    return _many_times(ways, {'ours': x, 'against': x}, {name: [weight, bias] for name in ways}, runs)


def convolutions(
    channels: int, shape: tuple[int, int, int], device: str = 'cuda', runs: int = RUNS
) -> dict[str, float]:
    """Time a depthwise 3x3 convolution in bf16 in NHWC, in which our backbones keep features, beside NCHW."""
    batch, *sides = shape
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels).to(device, torch.bfloat16)
    plain = torch.randn(batch, channels, *sides, device=device, dtype=torch.bfloat16)
    last = plain.to(memory_format=torch.channels_last)
    inputs = {'ours': last.requires_grad_(), 'against': plain.clone().requires_grad_()}
    return _many_times(dict.fromkeys(inputs, conv), inputs, {name: list(conv.parameters()) for name in inputs}, runs)


def hidden_widths(dim: int, side: int, device: str = 'cuda', runs: int = RUNS) -> dict[str, float]:
    """Time Restormer's feed-forward network in bf16 beside one whose hidden width is the next multiple of 8.

    Of 48 channels the hidden ones are 127 twice, and rows of a matrix that are no multiple of 16 bytes are slow on some
    GPUs. A ratio above 1, though the other one computes less, says that filling up with zeros would pay.
    """
    expansion = 2.66
    width = -(-int(dim * expansion) // 8) * 8
    norm, x = LayerNorm(dim, 'WithBias'), torch.randn(8, side, side, dim, device=device, dtype=torch.bfloat16)
    norm.to(device, x.dtype)
    blocks = {'ours': FeedForward(dim, width / dim, bias=False), 'against': FeedForward(dim, expansion, bias=False)}
    if blocks['ours'].project_out.in_channels != width:
        raise RuntimeError(f'expected {width} hidden channels, got {blocks["ours"].project_out.in_channels}')
    ways = {name: partial(block.to(device, x.dtype), norm=norm) for name, block in blocks.items()}
    inputs = {name: x.clone().requires_grad_() for name in blocks}
    weights = {name: list(block.parameters()) for name, block in blocks.items()}
    return _many_times(ways, inputs, weights, runs)


def recorded(call: Callable[[], object]) -> Callable[[], object]:
    """Record a call, which was made before, as a CUDA graph."""
    nothing = [torch.zeros((), device='cuda')]
    recording = Recording(lambda _: call(), nothing)
    return partial(recording.repeat, nothing)


def _many_times(
    ways: Mapping[str, Way],
    inputs: Mapping[str, Tensor],
    weights: Mapping[str, Sequence[Tensor]],
    runs: int,
    times: int = 20,
) -> dict[str, float]:
    """Time ways to compute, some calls recorded as one graph: a single one takes less time than launching it."""

    def forward(name: str) -> None:
        with torch.no_grad():
            for _ in range(times):
                ways[name](inputs[name])

    def with_backward(name: str) -> None:
        for _ in range(times):
            out = ways[name](inputs[name])
            torch.autograd.grad(out, [inputs[name], *weights[name]], out.detach())

    found: dict[str, float] = {}
    for kind, call in (('', forward), (', with backward', with_backward)):
        forms: dict[str, Callable[[], Any]] = {}
        for name in ways:
            call(name)
            forms[name] = recorded(partial(call, name)) if inputs[name].is_cuda else partial(call, name)
        seconds = in_turns(forms, runs)
        found[f'ms{kind}'] = sorted(seconds['ours'])[runs // 2] / times * 1e3
        found[f'other / ours{kind}'] = paired(seconds['against'], seconds['ours'])
    return found


def layers() -> dict[str, float]:
    """Measure the single layers of Restormer at its two largest sizes."""
    forms = {
        'norm of 48 channels': lambda: norms(48, 8 * 128 * 128),
        'norm of 96 channels': lambda: norms(96, 8 * 64 * 64),
        'depthwise convolution of 144 channels': lambda: convolutions(144, (8, 128, 128)),
        'depthwise convolution of 254 channels': lambda: convolutions(254, (8, 128, 128)),
        'feed-forward network of 48 channels': lambda: hidden_widths(48, 128),
        'feed-forward network of 96 channels': lambda: hidden_widths(96, 64),
    }
    return {f'{name}: {key}': value for name, form in forms.items() for key, value in form().items()}
