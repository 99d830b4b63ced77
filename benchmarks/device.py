"""A table of variants on one device: DINO-IR forward and training, eager and compiled, float32 and bf16."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.forward import GEMM_SIDE, guided_restormer, image
from benchmarks.measure import in_turns, spreads
from dinoir_plugin.core.markdown import table as markdown_table

BATCH, SIDE = 8, 128
PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16}


def table(device: str, runs: int, out: Path) -> str:
    """Measure all variants at batch 8 and 128 px.

    Args:
        device: As torch names it.
        runs: Runs of each variant after a warm-up.
        out: Folder for ``<device>.json`` and ``<device>.md``.

    Returns:
        The Markdown table: images per second, peak memory, and share of the peak of a matrix product of the same
        precision.
    """
    name = torch.cuda.get_device_name(device) if device.startswith('cuda') else device
    rows: list[dict[str, Any]] = []
    for work, mode, precision in itertools.product(('forward', 'training'), ('eager', 'compiled'), PRECISIONS):
        torch.compiler.reset()
        row = measure(device, work, mode, precision, runs)
        rows.append(row)
        print(row, flush=True)
    out.mkdir(parents=True, exist_ok=True)
    result = {'device': name, 'torch': torch.__version__, 'batch': BATCH, 'side': SIDE, 'rows': rows}
    stem = device.split(':')[0]
    (out / f'{stem}.json').write_text(json.dumps(result, indent=1) + '\n')
    text = markdown(result)
    (out / f'{stem}.md').write_text(text)
    return text


def measure(device: str, work: str, mode: str, precision: str, runs: int) -> dict[str, Any]:
    """Measure one variant."""
    net = guided_restormer().to(device)
    x = image(SIDE, BATCH).to(device)
    with FlopCounterMode(display=False) as counter:
        output = net(x)
        if work == 'training':
            output.mean().backward()
    run = net if mode == 'eager' else torch.compile(net, dynamic=False)
    optimizer = torch.optim.AdamW(net.parameters())
    encodings = net.encode(x)
    dtype = PRECISIONS[precision]

    def form() -> None:
        optimizer.zero_grad()
        with (
            torch.set_grad_enabled(work == 'training'),
            torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None),
        ):
            output = run(x, encodings=encodings)
        if work == 'training':
            F.l1_loss(output, x).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.01)
            optimizer.step()

    a = torch.rand(GEMM_SIDE, GEMM_SIDE, device=device, dtype=dtype or torch.float32)
    seconds = spreads(in_turns({'ours': form, 'gemm': lambda: a @ a}, runs))
    rate = counter.get_total_flops() / seconds['ours']['median']
    memory = 0.0
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        form()
        memory = torch.cuda.max_memory_allocated() / 2**20
    return {
        'work': work,
        'mode': mode,
        'precision': precision,
        'images_per_s': BATCH / seconds['ours']['median'],
        'share_of_peak': rate / (2 * GEMM_SIDE**3 / seconds['gemm']['median']),
        'peak_mib': memory,
    }


def markdown(result: dict[str, Any]) -> str:
    """Write the variants as a table."""
    lines = []
    for row in result['rows']:
        cells = [row['work'], row['mode'], row['precision'], f'{row["images_per_s"]:.1f}']
        lines.append([*cells, f'{row["share_of_peak"]:.2f}', f'{row["peak_mib"]:.0f}' if row['peak_mib'] else '-'])
    return (
        f'DINO-IR (Restormer, ViT-S/14 features given), batch {result["batch"]}, {result["side"]} px, on '
        f'{result["device"]}, PyTorch {result["torch"]}.\n\n'
        + markdown_table(['work', 'mode', 'precision', 'images/s', 'share of peak', 'peak memory (MiB)'], lines)
    )
