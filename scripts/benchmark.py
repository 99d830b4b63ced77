"""Speed as ratios, measured side by side in one process.

    python scripts/benchmark.py                 all rows, 5 runs each (about a quarter of an hour on 2 cores)
    python scripts/benchmark.py --rows ema nafnet --runs 9
    python scripts/benchmark.py --list

Each row alternates between the form under test and the form it is held against, after a warm-up of both, and reports
the ratio of the medians. The textbook forms are those of tests/reference/, which the tests hold equal to ours.
Results go to benchmarks/results.json (versions, machine, medians and quartiles) and benchmarks/results.md; rows
measured earlier on the same machine stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dinoir_plugin.archs.dinoir_arch import DINOIRArch  # noqa: E402
from dinoir_plugin.archs.nafnet_arch import NAFNet  # noqa: E402
from dinoir_plugin.archs.restormer_arch import Restormer  # noqa: E402
from tests.reference.nafnet import textbook_nafnet  # noqa: E402
from tests.reference.restormer import textbook_restormer  # noqa: E402

Form = Callable[[], Any]
GEMM_SIDE = 2048
GUIDE_AT = ['encoder_level*', 'latent', 'decoder_level*']
VIT_S = {'name': 'vit_small_patch14_dinov2', 'weights': 'random', 'layers': {'shallow': 3, 'medium': 7, 'deep': 11}}


def measure(forms: dict[str, Form], runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each form; forms take turns, so that a slow minute of the machine meets them all."""
    for form in forms.values():
        form()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(runs):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(seconds, n=4, method='inclusive')
    return {'median_s': median, 'quartile_1_s': low, 'quartile_3_s': high}


def no_grad(form: Form) -> Form:
    """The form without autograd."""

    def run() -> Any:
        with torch.no_grad():
            return form()

    return run


def image(side: int) -> Tensor:
    """A random (1, 3, side, side) picture."""
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def restormer_row(compiled: bool) -> dict[str, Form]:
    """Restormer's forward at 256 px against the textbook form."""
    net, x = Restormer().eval(), image(256)
    ours: Callable[[Tensor], Tensor] = torch.compile(net) if compiled else net
    return {'ours': no_grad(lambda: ours(x)), 'against': no_grad(lambda: textbook_restormer(net, x))}


def peak_row() -> dict[str, Form]:
    """Restormer compiled, beside a matrix product of 2048 for the machine's peak; the ratio is the share of it."""
    net, x = torch.compile(Restormer().eval()), image(256)
    a, b = torch.rand(GEMM_SIDE, GEMM_SIDE), torch.rand(GEMM_SIDE, GEMM_SIDE)
    return {'ours': no_grad(lambda: net(x)), 'against': lambda: a @ b}


def guidance_row(side: int) -> dict[str, Form]:
    """Backbone with PSF and all fusions, the encoder's features given, against the backbone."""
    net, x = guided_restormer(), image(side)
    plain = Restormer().eval()
    with torch.no_grad():
        features = net.encode(x)
    return {'ours': no_grad(lambda: net(x, features=features)), 'against': no_grad(lambda: plain(x))}


def whole_row() -> dict[str, Form]:
    """All of DINO-IR with ViT-S/14 against the backbone, 256 px."""
    net, plain, x = guided_restormer(), Restormer().eval(), image(256)
    return {'ours': no_grad(lambda: net(x)), 'against': no_grad(lambda: plain(x))}


def nafnet_row() -> dict[str, Form]:
    """NAFNet (width 32, the authors' SIDD setting) at 256 px against the textbook form."""
    net = NAFNet(width=32, middle_blk_num=12, enc_blk_nums=[2, 2, 4, 8], dec_blk_nums=[2, 2, 2, 2]).eval()
    x = image(256)
    return {'ours': no_grad(lambda: net(x)), 'against': no_grad(lambda: textbook_nafnet(net, x))}


def ema_row() -> dict[str, Form]:
    """The EMA update of one step against BasicSR's loop."""
    from basicsr.models.base_model import BaseModel

    from dinoir_plugin.models.dinoir_model import DINOIRModel

    model = DINOIRModel.__new__(DINOIRModel)
    model.net_g, model.net_g_ema = guided_restormer(), guided_restormer()
    return {'ours': lambda: model.model_ema(0.999), 'against': lambda: BaseModel.model_ema(model, 0.999)}


def guided_restormer() -> DINOIRArch:
    """DINO-IR as in train_dinoir_all4.yml, with ViT-S and random weights."""
    return DINOIRArch({'type': 'Restormer'}, VIT_S, GUIDE_AT).eval()


ROWS: dict[str, tuple[str, str, Callable[[], dict[str, Form]]]] = {
    'restormer': ('Restormer forward, 256 px, fp32 eager; x textbook', '>= 2.3', lambda: restormer_row(False)),
    'compiled': ('the same, compiled', '>= 3.0', lambda: restormer_row(True)),
    'peak': ('share of the matrix peak, fp32 compiled', '>= 0.60', peak_row),
    'guidance256': ('guided over plain backbone, 256 px, encoder apart', '<= 1.03', lambda: guidance_row(256)),
    'guidance512': ('guided over plain backbone, 512 px, encoder apart', '<= 1.03', lambda: guidance_row(512)),
    'whole': ('DINO-IR with ViT-S/14 over plain backbone, 256 px', '<= 1.08', whole_row),
    'nafnet': ('NAFNet forward, 256 px, fp32 eager; x textbook', '>= 1.5', nafnet_row),
    'ema': ("EMA update; x BasicSR's loop", '>= 10', ema_row),
}


def ratio(name: str, target: str, medians: dict[str, float]) -> float:
    """What the row's title speaks of: a speed-up (>=), a cost (<=), or a share of the peak."""
    if name == 'peak':
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            Restormer()(image(256))
        return (counter.get_total_flops() / medians['ours']) / (2 * GEMM_SIDE**3 / medians['against'])
    if target.startswith('>='):
        return medians['against'] / medians['ours']
    return medians['ours'] / medians['against']


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    if Path('/proc/cpuinfo').is_file():
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
        model = names[0] if names else model
    return {
        'cpu': model,
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'capability': torch.backends.cpu.get_cpu_capability(),
        'python': platform.python_version(),
        'torch': torch.__version__,
    }


def markdown(results: dict[str, Any]) -> str:
    """The table of all rows measured so far."""
    where = results['machine']
    lines = [
        f'Measured on {where["cores"]} cores of {where["cpu"]} ({where["capability"]}), {where["threads"]} threads, '
        f'Python {where["python"]}, PyTorch {where["torch"]}; medians, quartiles in brackets.',
        '',
        '| work | target | ratio | ours (s) | against (s) |',
        '|---|---|---|---|---|',
    ]
    for row in results['rows'].values():
        cells = [
            f'{form["median_s"]:.4f} [{form["quartile_1_s"]:.4f}, {form["quartile_3_s"]:.4f}]'
            for form in row['forms'].values()
        ]
        lines.append(f'| {row["title"]} | {row["target"]} | {row["ratio"]:.3f} | {cells[0]} | {cells[1]} |')
    return '\n'.join(lines) + '\n'


def earlier(path: Path) -> dict[str, Any]:
    """Results to add to: those in the file where this machine with these versions made them, else none."""
    here = machine()
    if path.is_file():
        results: dict[str, Any] = json.loads(path.read_text())
        if results['machine'] == here:
            return results
    return {'machine': here, 'rows': {}}


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', nargs='+', choices=list(ROWS), default=list(ROWS))
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks')
    parser.add_argument('--list', action='store_true', help='name the rows and stop')
    args = parser.parse_args()
    if args.list:
        print('\n'.join(f'{name:12} {title} ({target})' for name, (title, target, _) in ROWS.items()))
        return
    warnings.filterwarnings('ignore', message='The encoder .* has random weights')
    args.out.mkdir(parents=True, exist_ok=True)
    results = earlier(args.out / 'results.json')
    for name in args.rows:
        title, target, make = ROWS[name]
        seconds = measure(make(), args.runs)
        forms = {form: spread(values) for form, values in seconds.items()}
        value = ratio(name, target, {form: s['median_s'] for form, s in forms.items()})
        results['rows'][name] = {'title': title, 'target': target, 'runs': args.runs, 'ratio': value, 'forms': forms}
        print(f'{name:12} {title}: {value:.3f} (target {target})', flush=True)
        (args.out / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
        (args.out / 'results.md').write_text(markdown(results))


if __name__ == '__main__':
    main()
