"""What keeps the ratio of the DPC loss bounded at the paper's lambda of 1, and of which layers: short trainings.

    python -m benchmarks.dpc FOLDER [--seeds 3] [--iters 400] [--only NAME ...]

FOLDER is laid out as for `dinoir reproduce run mini_all4 --budget mini`. Each form trains the mini budget's DINO-IR
with EfficientNet-Lite0's pretrained weights for guidance and loss, on the same samples; the PSNR of each task is taken
of the same crops. Writes dpc.json after each training, so that a stopped measurement goes on, and dpc.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.data import build_dataset
from basicsr.models import build_model

from dinoir_plugin.core.machine import machine
from dinoir_plugin.core.markdown import table
from dinoir_plugin.experiments.variants import Experiments, training_options

HERE = Path(__file__).resolve().parent
LAMBDA = 1.0
TESTS = ('noise25', 'blur', 'rain100l', 'haze')
IMAGES, SIDE, LAYERS = 6, 128, [1, 2, 4]


class Form(NamedTuple):
    """Hold what is tried.

    Attributes:
        loss: Options of the loss; None: without it.
        ramp: The share of the training over which its weight rises from zero to lambda (the loss's ``ramp``).
        identity: Whether the network gives its input back at the start, its last convolution being zero.
    """

    loss: dict[str, Any] | None
    ramp: float = 0.0
    identity: bool = False


FORMS = {
    'no DPC': Form(None),
    'no bound': Form({'floor': 0.0, 'layers': LAYERS}),
    'ramp': Form({'floor': 0.0, 'layers': LAYERS}, ramp=0.5),
    'floor 0.5': Form({'floor': 0.5, 'layers': LAYERS}),
    'floor 1': Form({'floor': 1.0, 'layers': LAYERS}),
    'floor 1, ramp': Form({'floor': 1.0, 'layers': LAYERS}, ramp=0.5),
    'floor 1, shallow': Form({'floor': 1.0, 'layers': [1]}),
    'floor 1, deep': Form({'floor': 1.0, 'layers': [4]}),
    'floor 1, deep, ramp': Form({'floor': 1.0, 'layers': [4]}, ramp=0.5),
    'no DPC, identity': Form(None, identity=True),
    'no bound, identity': Form({'floor': 0.0, 'layers': LAYERS}, identity=True),
    'floor 0.5, identity': Form({'floor': 0.5, 'layers': LAYERS}, identity=True),
    'floor 1, identity': Form({'floor': 1.0, 'layers': LAYERS}, identity=True),
}


def options(data: str, form: Form, seed: int, iters: int) -> dict[str, Any]:
    """Give the options of a training, as BasicSR's models take them."""
    experiments = Experiments()
    opt = training_options(experiments.runs['dinoir'], experiments.budgets['mini'], 'dpc', seed, data)
    opt['train'].update(total_iter=iters, scheduler={'type': 'CosineAnnealingRestartLR', 'periods': [iters]})
    opt['train'].pop('dpc_opt', None)
    opt['network_g']['psf']['form'] = 'literal'
    if form.loss is not None:
        own = {'eps': 1e-6, 'ramp': round(form.ramp * iters), **form.loss}
        opt['train']['dpc_opt'] = {'type': 'DPCLoss', 'loss_weight': LAMBDA, **own}
    return {**opt, 'is_train': True, 'dist': False, 'rank': 0, 'world_size': 1, 'num_gpu': 0}


def trained(opt: dict[str, Any], form: Form) -> Any:
    """Train, one batch after the other of a sequence that depends on the seed alone."""
    torch.manual_seed(opt['manual_seed'])
    data = opt['datasets']['train']
    samples = build_dataset({**data, 'phase': 'train', 'seed': opt['manual_seed']})
    model = build_model(copy.deepcopy(opt))
    if form.identity:
        torch.nn.init.zeros_(model.net_g.backbone.output.weight)
    batch, total = data['batch_size_per_gpu'], opt['train']['total_iter']
    for iteration in range(1, total + 1):
        items = [samples[(iteration - 1) * batch + place] for place in range(batch)]
        model.feed_data({key: torch.stack([item[key] for item in items]) for key in ('lq', 'gt')}
                        | {'task': [item['task'] for item in items]})  # fmt: skip
        model.update_learning_rate(iteration, opt['train'].get('warmup_iter', -1))
        model.optimize_parameters(iteration)
    return model


def measured(model: Any, data: str) -> dict[str, float]:
    """Take the PSNR of each test, in dB, over crops of the middle of its first images."""
    budget = Experiments().budgets['mini']
    found = {}
    for test in TESTS:
        tasks = json.loads(json.dumps(budget['tests'][test]).replace('{data}', data))
        samples = build_dataset({'name': test, 'type': 'MixedDegradationDataset', 'phase': 'test', 'tasks': tasks})
        values = []
        for number in range(IMAGES):
            lq, gt = (_middle(samples[number][key])[None] for key in ('lq', 'gt'))
            error = (model.restore(lq).clamp(0, 1) - gt).square().mean()
            values.append(float(-10 * error.log10()))
        found[test] = statistics.mean(values)
    return found


def _middle(image: torch.Tensor) -> torch.Tensor:
    top, left = ((side - SIDE) // 2 for side in image.shape[-2:])
    return image[:, top : top + SIDE, left : left + SIDE]


def report(results: dict[str, dict[str, float]], iters: int) -> str:
    """Write the table: mean over seeds, and the spread of the mean of the tests."""
    rows = []
    for name in FORMS:
        runs = [value for key, value in results.items() if key.rpartition('/')[0] == name]
        if runs:
            means = [statistics.mean(run.values()) for run in runs]
            spread = f' +- {statistics.stdev(means):.2f}' if len(means) > 1 else ''
            cells = [f'{statistics.mean(run[test] for run in runs):.2f}' for test in TESTS]
            rows.append([name, *cells, f'{statistics.mean(means):.2f}{spread}', len(runs)])
    heads = ['DPC at lambda = 1', *(f'{test}, dB' for test in TESTS), 'mean +- deviation over seeds', 'seeds']
    text = table(heads, rows)
    where = ', '.join(f'{key} {value}' for key, value in machine().items())
    return f'# The bound of the DPC ratio\n\n`python -m benchmarks.dpc FOLDER --iters {iters}`. {where}.\n\n{text}'


def main() -> int:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--iters', type=int, default=400)
    parser.add_argument('--only', nargs='+', choices=list(FORMS), default=list(FORMS))
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    kept = HERE / 'dpc.json'
    results: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.is_file() else {}
    for seed in range(args.seeds):
        for name in args.only:
            key = f'{name}/{seed}'
            if key not in results:
                opt = options(args.data, FORMS[name], seed, args.iters)
                results[key] = measured(trained(opt, FORMS[name]), args.data)
                kept.write_text(json.dumps(results, indent=1) + '\n')
            sys.stdout.write(f'{key}: {results[key]}\n')
            sys.stdout.flush()
    (HERE / 'dpc.md').write_text(report(results, args.iters))
    return 0


if __name__ == '__main__':
    sys.exit(main())
