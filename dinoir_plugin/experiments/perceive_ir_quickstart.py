"""A tiny Perceive-IR end to end, on photographs of scikit-image: ``python scripts/perceive_ir_quickstart.py``.

Two networks half restore what they never saw, prompts learn to tell three qualities apart, and a network that they
teach learns to restore noise, blur and rain. An interrupted run goes on with the same command, and what is finished is
not done again. Everything lies in the working directory: datasets/quickstart/, datasets/perceive_ir_quickstart/,
experiments/perceive_ir_*quickstart*/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basicsr.data import build_dataset
from basicsr.utils import tensor2img

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.datasets.folds import Request, make_folds
from dinoir_plugin.experiments import quickstart
from dinoir_plugin.experiments.medium import render
from dinoir_plugin.experiments.stage import Stage
from dinoir_plugin.experiments.variants import read_yaml
from dinoir_plugin.restore.restorer import Restorer

FOLDER = Path('datasets/perceive_ir_quickstart')
LISTS, IMAGES = FOLDER / 'folds', FOLDER / 'images'
MEDIUM = 'perceive_ir/folds_quickstart'
SCENE = '([a-z]+)_'  # pieces of one photograph are called alike
PROMPTS = Stage('stage 1, prompts for quality', 'perceive_ir/prompts_quickstart')
RESTORING = Stage('stage 2, a network for noise, blur and rain', 'perceive_ir/train_quickstart')


def main() -> int:
    """Train and report; the exit status says whether all degradations got better."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        make_medium_images()
        PROMPTS.train()
        report_prompts()
        RESTORING.train()
        restores = report_restoring()
    except (ValueError, OSError) as error:
        note(str(error))
        return BAD
    return GOOD if restores else BAD


def make_medium_images() -> None:
    """Deal photographs out to folds, train a network without each fold, and have it restore the fold."""
    if not quickstart.IMAGES.is_dir():
        quickstart.prepare()
    options = options_file(MEDIUM)
    if not (LISTS / 'without1.yml').is_file():
        tasks = read_yaml(options)['datasets']['train']['tasks']
        make_folds(options, LISTS, Request(scenes=dict.fromkeys(tasks, SCENE)))
    networks = []
    for fold in range(2):
        networks.append(Stage(f'stage 1, a network that never saw fold {fold}', LISTS / f'without{fold}.yml'))
        networks[-1].train()
    done = render(options, LISTS, IMAGES, [network.checkpoint for network in networks])
    note(f'{IMAGES}: {done.rendered} images of medium quality, {done.there} there already')


def report_prompts() -> None:
    """Say how well the prompts tell the qualities of photographs apart that they did not learn from."""
    name = PROMPTS.written['datasets']['val']['name']
    means = json.loads((PROMPTS.folder / f'metrics_{name}.json').read_text(encoding='utf-8'))['means']
    figures = list(next(iter(means.values())))
    say('\nQuality of held-out photographs by the prompts (guessing: 33%, 4%, 17%)\n')
    rows = [(task, *(f'{row[figure]:.0%}' for figure in figures)) for task, row in means.items()]
    say(columns([('task', *figures), *rows]))


def report_restoring() -> bool:
    """Say the PSNR of photographs that no network learned from; return whether each task got better."""
    restorer = Restorer.from_checkpoint(RESTORING.checkpoint)
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for item in _test_images():
        target = tensor2img(item['gt'])
        images = (item['lq'], restorer.restore(item['lq']))
        before, after = (quickstart.psnr(tensor2img(image), target) for image in images)
        scores[item['task']].append((before, after))
    failed = quickstart.say_scores(scores)
    say('\nDINOv2, CLIP and VGG16 have random weights here: this shows that the machinery works, no more.')
    if failed:
        note(f'FAILED: no gain in {", ".join(failed)}')
    return not failed


def _test_images() -> Iterator[dict[str, Any]]:
    val = RESTORING.written['datasets']['val']
    tasks = {name: {'dataroot_gt': str(quickstart.IMAGES / 'heldout'), 'degradation': block['degradation']}
             for name, block in val['tasks'].items()}  # fmt: skip
    yield from build_dataset({**val, 'tasks': tasks, 'phase': 'val'})


if __name__ == '__main__':
    sys.exit(main())
