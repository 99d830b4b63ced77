"""The restoration half of a tiny DA-CLIP: a U-Net that restores noise and JPEG, on photographs of scikit-image.

    python -m dinoir_plugin.experiments.daclip_unet

An interrupted training goes on with the same command. Where stage 1's quickstart has been trained, its DA-CLIP guides.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.data import build_dataset
from basicsr.utils import tensor2img

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.experiments import quickstart
from dinoir_plugin.experiments.programs import Progress, start
from dinoir_plugin.experiments.runs import TRAINED, checkpoint_of
from dinoir_plugin.experiments.variants import read_yaml
from dinoir_plugin.restore.restorer import Restorer

OPTIONS = 'daclip/train_unet_quickstart'
TITLE = 'stage 2, a U-Net for noise and JPEG'
STAGE_1 = 'daclip_stage1_quickstart'
FEW, ALL = {'solver': 'dpm2', 'steps': 10}, {'solver': 'dpm2', 'steps': 100}
ALLOWED = 0.1  # dB between them


def main() -> int:
    """Train and report; the exit status says whether it restores, with few steps as with all."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        if not quickstart.IMAGES.is_dir():
            quickstart.prepare()
        train()
        restores = report()
    except (ValueError, OSError) as error:
        note(str(error))
        return BAD
    return GOOD if restores else BAD


def train() -> None:
    """Train to the end, from where an earlier call was broken off; guided by stage 1, where that is there.

    Raises:
        RunError: It was stopped or failed.
    """
    written = read_yaml(options_file(OPTIONS))
    if checkpoint_of(written['name']).is_file():
        note(f'{TITLE}: trained already, experiments/{written["name"]}')
        return
    log, stage_1 = Path('experiments') / f'{written["name"]}.log', checkpoint_of(STAGE_1)
    note(f'{TITLE}: training; output: {log}')
    words = ['-m', 'basicsr.train', '-opt', str(options_file(OPTIONS)), '--auto_resume']
    if stage_1.is_file():
        words += ['--force_yml', f'network_g:daclip:weights={stage_1.resolve()}']
    start(words, log, TITLE, Progress(TRAINED, int(written['train']['total_iter']), 'it'))


def report() -> bool:
    """Restore held-out images in few steps and in all, and say their PSNR.

    Returns:
        Whether all tasks got better in few steps, and few are as good as all.
    """
    written = read_yaml(options_file(OPTIONS))
    scores = {steps['steps']: _scores(written, steps) for steps in (FEW, ALL)}
    few, every = (scores[steps['steps']] for steps in (FEW, ALL))
    say('\nPSNR on held-out photographs (dB, mean)\n')
    rows = [('task', 'degraded', *(f'{steps} steps' for steps in scores), 'gain')]
    for task, (before, after) in few.items():
        figures = (before, after, every[task][1])
        rows.append((task, *(f'{value:.2f}' for value in figures), f'{after - before:+.2f}'))
    say(columns(rows))
    failed = [f'no gain in {task}' for task, (before, after) in few.items() if after <= before]
    failed += [f'{task}: {FEW["steps"]} steps are {every[task][1] - after:.2f} dB worse than {ALL["steps"]}'
               for task, (_, after) in few.items() if every[task][1] - after > ALLOWED]  # fmt: skip
    if failed:
        note(f'FAILED: {"; ".join(failed)}')
    return not failed


def _scores(written: Any, sampler: Any) -> dict[str, tuple[float, float]]:
    """Give the mean PSNR of each task's images, degraded and restored by a sampler."""
    restorer = Restorer.from_checkpoint(checkpoint_of(written['name']), sampler=sampler)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for item in build_dataset({**written['datasets']['val'], 'phase': 'val'}):
        images = (item['lq'], restorer.restore(item['lq']))
        target = tensor2img(item['gt'])
        before, after = (quickstart.psnr(tensor2img(image), target) for image in images)
        found[item['task']].append((before, after))
    return {task: (float(before), float(after)) for task, pairs in found.items() for before, after in [_mean(pairs)]}


def _mean(pairs: list[tuple[float, float]]) -> Any:
    return np.mean(pairs, axis=0)


if __name__ == '__main__':
    sys.exit(main())
