"""Speed and memory as ratios, measured side by side on one machine.

    python scripts/benchmark.py                          all rows, 5 runs each (half an hour on 2 cores)
    python scripts/benchmark.py --rows ema nafnet --runs 9
    python scripts/benchmark.py --list
    python scripts/benchmark.py --guard                  a minute: fails where a gain has been lost
    python scripts/benchmark.py --profile                where the time of a forward pass and of a training step goes
    python scripts/benchmark.py --loading DATA           patches a second from folders and LMDBs (needs bsd400, ...)
    python scripts/benchmark.py --restoring NET.pth      tiles, local statistics, 50 megapixels with a trained network
    python scripts/benchmark.py --device cuda            images per second, memory and share of the peak on a GPU

Each row has a process of its own. It alternates between the form under test and the form it is held against, after a
warm-up of both, and reports the median of the ratios of all turns. The textbook forms are those of
dinoir_plugin/testing/textbook/, which the tests hold equal to ours. Results go to benchmarks/results.json (versions,
machine, medians and quartiles) and benchmarks/results.md; rows measured earlier on the same machine stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import device, forward, loading, profiles, restoring, sizes, training  # noqa: E402
from benchmarks.measure import Result, keeping_memory  # noqa: E402
from dinoir_plugin.core.machine import machine  # noqa: E402
from dinoir_plugin.core.markdown import table  # noqa: E402
from dinoir_plugin.models.acceleration import has_bf16  # noqa: E402


@dataclass(frozen=True)
class Benchmark:
    """Say what is measured, what is aimed at, how, and whether it needs a processor with units for bf16."""

    title: str
    target: str
    run: Callable[[int], Result]
    needs_bf16: bool = False


TRAIN, MEMORY = training.training, training.memory
FULL_SIZE = ['encoder_level1', 'decoder_level1', 'refinement']
ROWS = {
    'restormer': Benchmark('Restormer forward, 256 px, fp32 eager; x textbook', '>= 2.3', forward.restormer),
    'compiled': Benchmark('the same, compiled', '>= 3.0', partial(forward.restormer, form='compiled')),
    'bf16': Benchmark('the same, compiled, bf16', '>= 5.5', partial(forward.restormer, form='bf16'), needs_bf16=True),
    'peak': Benchmark('share of the matrix peak, fp32 compiled', '>= 0.60', forward.peak),
    **{
        f'guidance{side}': Benchmark(
            f'guided over plain, {side} px, encoder apart', '<= 1.03', partial(forward.guidance, side=side)
        )
        for side in (256, 512)
    },
    'whole': Benchmark('DINO-IR with ViT-S/14 over plain backbone, 256 px', '<= 1.08', forward.whole),
    'nafnet': Benchmark('NAFNet forward, 256 px, fp32 eager; x textbook', '>= 1.5', forward.nafnet),
    'training': Benchmark('training step, fp32 eager; x textbook', '>= 2.2', TRAIN),
    'training-compiled': Benchmark('training step, fp32 compiled; x textbook', '>= 2.2', partial(TRAIN, compile=True)),
    'training-bf16': Benchmark(
        'training step, bf16 eager; x textbook fp32', '>= 4.5', partial(TRAIN, amp='bf16'), needs_bf16=True
    ),
    'memory': Benchmark("peak memory of the step, fp32 eager; of textbook's", '-', MEMORY),
    'memory-bf16': Benchmark(
        "peak memory of the step, bf16 eager; of textbook's", '<= 0.45', partial(MEMORY, amp='bf16'), needs_bf16=True
    ),
    'bf16-product': Benchmark("matrix product of 1024 in bf16; x fp32's time", '-', forward.bf16_product),
    'checkpoint-some': Benchmark(
        'step with the full-size levels checkpointed; x without', '-', partial(training.checkpointing, levels=FULL_SIZE)
    ),
    'checkpoint-all': Benchmark(
        'step with all levels checkpointed; x without', '-', partial(training.checkpointing, levels=training.LEVELS)
    ),
    'restormer-kept': Benchmark(
        'the forward of row restormer, memory kept by the allocator', '-', keeping_memory(forward.restormer)
    ),
    'guidance256-kept': Benchmark(
        'the forwards of row guidance256, memory kept by the allocator',
        '<= 1.03',
        keeping_memory(partial(forward.guidance, side=256)),
    ),
    'training-kept': Benchmark('the step of row training, memory kept by the allocator', '-', keeping_memory(TRAIN)),
    'training-alone': Benchmark(
        'our step alone in a process that keeps what it frees; x in one that does not', '-', training.alone
    ),
    'ema': Benchmark("EMA update; x BasicSR's loop", '>= 10', training.ema),
    'tiled': Benchmark('time a pixel, 4K over 1080p, tiles of 512', '1', sizes.tiled),
    'loader': Benchmark("a sample of the data set; x PairedImageDataset's time", '-', sizes.loader),
    'drawing': Benchmark('choosing a training sample; share of making it (PNG)', '<= 0.02', sizes.drawing),
    'saving': Benchmark('a checkpoint every 5,000 steps; share of their time', '<= 0.01', training.saving),
    'local-restormer': Benchmark(
        'Restormer, 256 px, statistics over windows of 192; x whole',
        '-',
        partial(restoring.local_cost, name='restormer'),
    ),
    'local-nafnet': Benchmark('the same for NAFNet', '-', partial(restoring.local_cost, name='nafnet')),
    'channels_last': Benchmark('EDSR in NHWC; x NCHW', '-', forward.channels_last),
}
# what a loss of speed would show in first, and the least (or most) that it may come to on a busy machine
GUARD_ATTEMPTS = 3
GUARDS: dict[str, tuple[Callable[[int], Result], Callable[[float], bool], str]] = {
    'restormer': (partial(forward.restormer, side=128), lambda ratio: ratio >= 1.2, 'at least 1.2'),
    'nafnet': (forward.nafnet, lambda ratio: ratio >= 1.0, 'at least 1.0'),
    'guidance': (partial(forward.guidance, side=128), lambda ratio: ratio <= 1.25, 'at most 1.25'),
    'ema': (training.ema, lambda ratio: ratio >= 1.0, 'at least 1.0'),
}


def markdown(results: dict[str, Any]) -> str:
    """Write the table of all rows measured so far."""
    where = results['machine']
    lines = []
    for name in [name for name in ROWS if name in results['rows']]:
        row, result = ROWS[name], results['rows'][name]
        cells = [
            f'{form["median"]:.4g} [{form["quartile_1"]:.4g}, {form["quartile_3"]:.4g}] {result["unit"]}'
            for form in result['forms'].values()
        ]
        lines.append([name, row.title, row.target, f'{result["ratio"]:.3g}', *cells, result['note'], result['runs']])
    return (
        f'Measured on {where["cores"]} cores of {where["cpu"]} ({where["capability"]}), {where["threads"]} threads, '
        f'Python {where["python"]}, PyTorch {where["torch"]}; medians, quartiles in brackets.\n\n'
        + table(['row', 'work', 'target', 'ratio', 'ours', 'against', '', 'runs'], lines)
    )


def earlier(path: Path) -> dict[str, Any]:
    """Read the results to add to: those in the file where this machine with these versions made them, else none."""
    here = machine()
    if path.is_file():
        results: dict[str, Any] = json.loads(path.read_text())
        if results['machine'] == here:
            return results
    return {'machine': here, 'rows': {}}


def measure(name: str, runs: int, out: Path) -> None:
    """Measure a row, print it and add it to the results."""
    out.mkdir(parents=True, exist_ok=True)
    results = earlier(out / 'results.json')
    row = ROWS[name]
    if row.needs_bf16 and not has_bf16():
        print(f'{name:20} left out: this processor has no units for bf16 (see the row bf16-product)', flush=True)
        return
    result = row.run(runs)
    results['rows'][name] = {**asdict(result), 'runs': runs}
    print(f'{name:20} {row.title}: {result.ratio:.3g} (target {row.target}) {result.note}', flush=True)
    (out / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
    (out / 'results.md').write_text(markdown(results))


def measure_apart(rows: list[str], runs: int, out: Path) -> None:
    """Measure each row in a process of its own: memory that the C library keeps of one would speed up the next."""
    for name in rows:
        command = [sys.executable, __file__, '--rows', name, '--runs', str(runs), '--out', str(out)]
        subprocess.run(command, check=True)


def guard() -> bool:
    """Measure the guarded ratios and say whether all hold. A busy machine gets three attempts at each."""
    fine = True
    for name, (run, holds, words) in GUARDS.items():
        for _ in range(GUARD_ATTEMPTS):
            ratio = run(3).ratio
            if holds(ratio):
                break
        fine = fine and holds(ratio)
        print(f'{name:12} {ratio:.2f}, {words}{"" if holds(ratio) else ": FAILED"}', flush=True)
    return fine


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', nargs='+', choices=list(ROWS), default=list(ROWS))
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks')
    parser.add_argument('--list', action='store_true', help='name the rows and stop')
    parser.add_argument('--guard', action='store_true', help='measure a few rows quickly; exit status 1 where one fell')
    parser.add_argument('--profile', action='store_true', help='print where the time goes')
    parser.add_argument('--device', help='measure the table of variants on this device, e.g. cuda')
    parser.add_argument('--loading', type=Path, metavar='DATA', help='measure patches a second from real images')
    parser.add_argument('--restoring', type=Path, metavar='NET', help='measure tiles and a large image')
    args = parser.parse_args()
    warnings.filterwarnings('ignore', message='The encoder .* has random weights')
    if args.list:
        print('\n'.join(f'{name:20} {row.title} ({row.target})' for name, row in ROWS.items()))
    elif args.guard:
        sys.exit(not guard())
    elif args.profile:
        print(profiles.table())
    elif args.loading:
        print(loading.table(args.loading, args.runs, args.out))
    elif args.restoring:
        print(restoring.table(args.restoring, args.out))
    elif args.device:
        print(device.table(args.device, args.runs, args.out))
    elif len(args.rows) == 1:
        measure(args.rows[0], args.runs, args.out)
    else:
        measure_apart(args.rows, args.runs, args.out)


if __name__ == '__main__':
    main()
