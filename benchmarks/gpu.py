"""DINO-IR on one GPU: time and memory of steps and forward passes, one row in a process.

``python -m benchmarks.gpu ROW`` prints the row's numbers as JSON; scripts/gpu_check.py runs them all.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.forward import guided_restormer, image
from benchmarks.measure import in_turns, paired
from benchmarks.training import build
from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.testing.textbook.dinoir import textbook_dinoir, textbook_dpc

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
    for _ in range(5):
        step()
    torch.cuda.reset_peak_memory_stats()
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


def forward(batch: int, side: int, half: bool) -> dict[str, float]:
    """Time Restormer, the same with guidance on features that are there already, and all of DINO-IR."""
    guided, plain, x = guided_restormer().cuda(), Restormer().eval().cuda(), image(side, batch).cuda()

    @torch.no_grad()
    def run(call: Callable[[], Any]) -> None:
        with torch.autocast('cuda', torch.bfloat16, enabled=half):
            call()

    with torch.no_grad():
        known = guided.encode(x)
    forms = {'plain': lambda: run(lambda: plain(x)), 'guided': lambda: run(lambda: guided(x, encodings=known)),
             'whole': lambda: run(lambda: guided(x))}  # fmt: skip
    seconds = in_turns(forms, RUNS)
    return {
        'ms': sorted(seconds['plain'])[RUNS // 2] * 1e3,
        'guided / plain': paired(seconds['guided'], seconds['plain']),
        'whole / plain': paired(seconds['whole'], seconds['plain']),
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


ROWS: dict[str, Callable[[], dict[str, float]]] = {
    'step, bf16': lambda: training(**HALF),
    'step, bf16, no graph': lambda: training(**HALF, cuda_graph='off'),
    'step, bf16, compiled': lambda: training(**HALF, compile=True),
    'step, bf16, compiled, no graph': lambda: training(**HALF, compile=True, cuda_graph='off'),
    'step, fp16': lambda: training(amp='fp16'),
    'step, fp32': training,
    'step, fp32, compiled': lambda: training(compile=True),
    'what a bf16 step waits for': lambda: waits(**HALF),
    'forward, 8 x 128 px, bf16': lambda: forward(BATCH, SIDE, True),
    'forward, 8 x 128 px, fp32': lambda: forward(BATCH, SIDE, False),
    'forward, 1 x 512 px, bf16': lambda: forward(1, 512, True),
    'forward, 1 x 1024 px, bf16': lambda: forward(1, 1024, True),
    'images of new sizes': new_sizes,
}


def main() -> int:
    """Measure the row that is named."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {key: round(value, 4) for key, value in ROWS[sys.argv[1]]().items()}
    sys.stdout.write(json.dumps(found) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
