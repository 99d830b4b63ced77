"""DINO-IR on one GPU: time and memory of steps and forward passes, one row in a process.

``python -m benchmarks.gpu ROW`` prints the row's numbers as JSON; scripts/gpu_check.py runs them all.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.forward import guided_restormer, image
from benchmarks.gpu_kernels import layers
from benchmarks.measure import in_turns, paired
from benchmarks.training import build
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.inference.graphs import SEEN_BEFORE, Calls, Graphs, directly
from dinoir_plugin.inference.tiling import restore_image
from dinoir_plugin.models import validation as models_validation
from dinoir_plugin.models.beside import Beside
from dinoir_plugin.models.step_graph import WARM_UP
from dinoir_plugin.testing.textbook.dinoir import textbook_dinoir, textbook_dpc
from dinoir_plugin.testing.textbook.restormer import textbook_restormer

RUNS = 15
BATCH, SIDE = 8, 128
HALF: dict[str, Any] = {'amp': 'bf16', 'ema_decay': 0.999}


def _steps(train: dict[str, Any]) -> tuple[Any, Callable[[], None]]:
    model = build({'ema_decay': 0.999, **train}, num_gpu=1)
    data = {'lq': image(SIDE, BATCH).pin_memory(), 'gt': image(SIDE, BATCH).flip(3).pin_memory()}

    def step() -> None:
        model.feed_data(data)
        model.optimize_parameters(1)

    return model, step


def training(**train: Any) -> dict[str, float]:
    """Time a guided step with DPC beside the same as the equations are written; take its peak memory."""
    start = time.perf_counter()
    _, step = _steps(train)
    step()
    torch.cuda.synchronize()
    first = time.perf_counter() - start
    # a step that is repeated takes its memory when it is recorded, which is one of these
    torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_UP + 3):
        step()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 1e9
    plain, _ = _steps({'cuda_graph': 'off'})
    lq, gt = image(SIDE, BATCH).cuda(), image(SIDE, BATCH).flip(3).cuda()

    def textbook() -> None:
        plain.optimizer_g.zero_grad()
        with torch.autocast('cuda', torch.bfloat16, enabled=train.get('amp') == 'bf16'):
            output = textbook_dinoir(plain.net_g, lq)
            loss = F.l1_loss(output, gt) + textbook_dpc(plain.criteria['dpc'], output, gt, lq)
        loss.backward()
        plain.optimizer_g.step()

    seconds = in_turns({'ours': step, 'against': textbook}, RUNS)
    median = sorted(seconds['ours'])[RUNS // 2]
    return {'ms': median * 1e3, 'textbook / ours': paired(seconds['against'], seconds['ours']), 'peak GB': peak,
            'first step s': first}  # fmt: skip


def waits(**train: Any) -> dict[str, float]:
    """Count what a step waits for: 0, or an error that names it."""
    _, step = _steps({'cuda_graph': 'off', **train})
    for _ in range(3):
        step()
    torch.cuda.set_sync_debug_mode('error')
    step()
    torch.cuda.set_sync_debug_mode('default')
    return {'waits': 0}


def forward(batch: int, side: int, half: bool, device: str = 'cuda', runs: int = RUNS) -> dict[str, float]:
    """Time Restormer, the same with guidance on features that are there already, and all of DINO-IR.

    By recorded calls, as images are restored, and by usual ones, among which is Restormer as its equations are written.
    """
    guided, plain = guided_restormer().to(device), Restormer().eval().to(device)
    x, lines = image(side, batch).to(device), list[str]()
    graphs: dict[nn.Module, Graphs] = {net: Graphs('auto', lines.append) for net in (guided, plain)}
    with torch.no_grad():
        known = guided.encode(x)

    @torch.no_grad()
    def run(call: Callable[[], Any]) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            call()

    def forms(calls_of: Callable[[nn.Module], Calls]) -> dict[str, Callable[[], None]]:
        return {
            'plain': lambda: run(lambda: calls_of(plain)(plain, x)),
            'guided': lambda: run(lambda: calls_of(guided)(guided, x, encodings=known)),
            'whole': lambda: run(lambda: calls_of(guided)(guided, x)),
        }

    recorded = forms(lambda net: graphs[net].of(net, x.device))
    for _ in range(SEEN_BEFORE):
        for form in recorded.values():
            form()
    seconds = in_turns(recorded, runs)
    written = {'textbook': lambda: run(lambda: textbook_restormer(plain, x))}
    usual = in_turns({**forms(lambda net: directly), **written}, runs)
    if lines:
        raise RuntimeError(lines[0])
    return {
        'ms': sorted(seconds['plain'])[runs // 2] * 1e3,
        'guided / plain': paired(seconds['guided'], seconds['plain']),
        'whole / plain': paired(seconds['whole'], seconds['plain']),
        'textbook / as usual': paired(usual['textbook'], usual['plain']),
        'as usual ms': sorted(usual['plain'])[runs // 2] * 1e3,
        'as usual, guided / plain': paired(usual['guided'], usual['plain']),
        'as usual, whole / plain': paired(usual['whole'], usual['plain']),
    }


def new_sizes() -> dict[str, float]:
    """Time the first image of each of ten sizes, in seconds."""
    net = guided_restormer().cuda()
    taken = []
    for number in range(10):
        x = image(256 + 24 * number).cuda()
        start = time.perf_counter()
        with torch.no_grad():
            net(x)
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return {'first s': taken[0], 'largest of the others s': max(taken[1:])}


def restoring(
    side: int, tile: int | None, half: bool = True, device: str = 'cuda', runs: int = RUNS
) -> dict[str, float]:
    """Time restoring an image by recorded calls and by usual ones, whole or in tiles; nothing may hinder the former."""
    net, x, lines = guided_restormer().to(device), image(side).to(device), list[str]()
    graphs = Graphs('auto', lines.append)

    @torch.no_grad()
    def run(how: Graphs | None) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            restore_image(net, x, tile, graphs=how)

    start = time.perf_counter()
    for _ in range(SEEN_BEFORE + 1):
        run(graphs)
    if device == 'cuda':
        torch.cuda.synchronize()
    first = time.perf_counter() - start
    seconds = in_turns({'ours': lambda: run(graphs), 'against': lambda: run(None)}, runs)
    if lines:
        raise RuntimeError(lines[0])
    return {
        'ms': sorted(seconds['ours'])[runs // 2] * 1e3,
        'as usual / ours': paired(seconds['against'], seconds['ours']),
        f'first {SEEN_BEFORE + 1} s': first,
    }


class _Images(list[dict[str, Any]]):
    opt: ClassVar[dict[str, str]] = {'name': 'set'}


def validation(
    count: int = 24, sides: tuple[int, int] = (320, 480), num_gpu: int = 1, runs: int = 3
) -> dict[str, float]:
    """Time an image of a validation by PSNR and SSIM, beside the same without graphs, measured in between."""
    model = build({'ema_decay': 0.999}, num_gpu)
    psnr, ssim = ({'type': f'calculate_{name}', 'crop_border': 0} for name in ('psnr', 'ssim'))
    model.opt['val'] = {'metrics': {'psnr': psnr, 'ssim': ssim}}
    random = torch.Generator().manual_seed(0)
    images = [torch.rand(3, *sides, generator=random) for _ in range(count)]
    items = _Images({'lq': one, 'gt': one.flip(2), 'lq_path': f'{n}.png'} for n, one in enumerate(images))
    calls, lines = itertools.count(1), list[str]()

    def run(graphs: str, device: torch.device) -> None:
        model.graphs = Graphs(graphs, lines.append)
        with patch.object(models_validation, 'Beside', lambda _: Beside(device)):
            model.nondist_validation(SimpleNamespace(dataset=items), next(calls), None, False)

    with tempfile.TemporaryDirectory() as folder:
        model.opt['path'].update(experiments_root=folder, models=folder)
        forms = {'ours': lambda: run('auto', model.device), 'no graphs': lambda: run('off', model.device),
                 'against': lambda: run('off', torch.device('cpu'))}  # fmt: skip
        seconds = in_turns(forms, runs)
    if lines:
        raise RuntimeError(lines[0])
    return {
        'ms an image': sorted(seconds['ours'])[runs // 2] * 1e3 / count,
        'no graphs / ours': paired(seconds['no graphs'], seconds['ours']),
        'in turn, no graphs / ours': paired(seconds['against'], seconds['ours']),
    }


ROWS: dict[str, Callable[[], dict[str, float]]] = {
    'step, bf16': lambda: training(**HALF),
    'step, bf16, no graph': lambda: training(**HALF, cuda_graph='off'),
    'step, fp16': lambda: training(amp='fp16'),
    'step, fp32': training,
    'what a bf16 step waits for': lambda: waits(**HALF),
    'forward, 8 x 128 px, bf16': lambda: forward(BATCH, SIDE, True),
    'forward, 8 x 128 px, fp32': lambda: forward(BATCH, SIDE, False),
    'forward, 1 x 512 px, bf16': lambda: forward(1, 512, True),
    'forward, 1 x 1024 px, bf16': lambda: forward(1, 1024, True),
    'single layers, 8 x 128 px, bf16': layers,
    'images of new sizes': new_sizes,
    'restoring, 1024 px in tiles of 512, bf16': lambda: restoring(1024, 512),
    'restoring, 512 px as a whole, bf16': lambda: restoring(512, None),
    'restoring, 256 px as a whole, fp32': lambda: restoring(256, None, False),
    'validation, 320 x 480 px, fp32': validation,
    # last, as compiling takes the time of several rows
    'step, bf16, compiled': lambda: training(**HALF, compile=True),
    'step, bf16, compiled, no graph': lambda: training(**HALF, compile=True, cuda_graph='off'),
    'step, fp32, compiled': lambda: training(compile=True),
}


def main() -> int:
    """Measure the row that is named."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {key: round(value, 4) for key, value in ROWS[sys.argv[1]]().items()}
    sys.stdout.write(json.dumps(found) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
