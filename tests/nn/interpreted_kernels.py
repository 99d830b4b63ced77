"""Print how far kernels are from torch by Triton's interpreter (TRITON_INTERPRET=1), 1 for what rounding explains."""

import contextlib
import sys

import torch

from dinoir_plugin.nn import gating, layer_norm
from dinoir_plugin.nn.kernels import TYPES
from dinoir_plugin.nn.layer_norm import KernelNorm

# the interpreter computes on the CPU, where there is no device to change to
torch.cuda.device = torch.cuda.device_of = lambda _: contextlib.nullcontext()
CPU = torch.device('cpu')
for dtype in TYPES:
    for channels in (6, 127, 384):
        for module in (layer_norm, gating):
            sys.stdout.write(f'{module.trial(CPU, dtype, channels)}\n')
# more pixels than all programs of the backward pass take at once, weights of another type, no bias
x, weight, grad = torch.randn(3, 2, 101, 350, 8, generator=torch.Generator().manual_seed(0)).double().unbind()
weight = weight[0, 0, 0]
gradients = []
for kind, norm in ((torch.float64, lambda x, w, b, eps: torch.nn.functional.layer_norm(x, (8,), w, b, eps)),
                   (torch.float16, KernelNorm.apply)):  # fmt: skip
    inputs = [x.half().to(kind).requires_grad_(), weight.float().to(max(kind, torch.float32, key=lambda k: k.itemsize))]
    inputs[1].requires_grad_()
    out = norm(*inputs, None, 1e-6)
    gradients.append([out, *torch.autograd.grad(out, inputs, grad.half().to(kind))])
for one, other in zip(*gradients):
    sys.stdout.write(f'{((one - other).abs().max() / one.abs().max() / 2e-3).item()}\n')
