"""The restoration half of a tiny DA-CLIP: a U-Net that restores noise and JPEG, on photographs of scikit-image.

    python -m dinoir_plugin.experiments.daclip_unet

An interrupted training goes on with the same command. Where stage 1's quickstart has been trained, its DA-CLIP guides.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from basicsr.data import build_dataset
from basicsr.utils import tensor2img

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.experiments import quickstart
from dinoir_plugin.experiments.runs import checkpoint_of
from dinoir_plugin.experiments.stage import Stage
from dinoir_plugin.restore.restorer import Restorer

RESTORING = Stage('stage 2, a U-Net for noise and JPEG', 'daclip/train_unet_quickstart')
STAGE_1 = 'daclip_stage1_quickstart'
FEW = {'solver': 'dpm2', 'steps': 10, 'temperature': 0}
ALL = {**FEW, 'steps': 100}
ALLOWED = 0.1  # dB that few steps may be worse


def main() -> int:
    """Train and report; the exit status says whether it restores, with few steps as with all."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        if not quickstart.IMAGES.is_dir():
            quickstart.prepare()
        train(checkpoint_of(STAGE_1))
        restores = report()
    except (ValueError, OSError) as error:
        note(str(error))
        return BAD
    return GOOD if restores else BAD


def train(encoder: Path) -> None:
    """Train to the end, from where an earlier call was broken off.

    Args:
        encoder: Network of stage 1, which guides where it is there.

    Raises:
        RunError: It was stopped or failed.
    """
    words = ['--force_yml', f'network_g:daclip:weights={encoder.resolve()}'] if encoder.is_file() else []
    RESTORING.train(words)


def report() -> bool:
    """Restore held-out images in few steps, one of each task in all steps, too, and say their PSNR.

    Returns:
        Whether all tasks got better, and few steps are as good as all.
    """
    written = RESTORING.written
    items = list(build_dataset({**written['datasets']['val'], 'phase': 'val'}))
    one_of_each = list({item['task']: item for item in reversed(items)}.values())[::-1]
    few, every, same = (_scores(*what) for what in ((items, FEW), (one_of_each, ALL), (one_of_each, FEW)))
    say('\nPSNR on held-out photographs (dB, mean)\n')
    rows = [('task', 'degraded', f'{FEW["steps"]} steps', 'gain', 'one image:', *(f'{steps["steps"]} steps'
            for steps in (FEW, ALL)))]  # fmt: skip
    failed = []
    for task, (before, after) in few.items():
        worse = every[task][1] - same[task][1]
        figures = (f'{before:.2f}', f'{after:.2f}', f'{after - before:+.2f}', '', *(f'{each[task][1]:.2f}'
                   for each in (same, every)))  # fmt: skip
        rows.append((task, *figures))
        failed += [f'no gain in {task}'] if after <= before else []
        failed += [f'{task}: few steps are {worse:.2f} dB worse than all'] if worse > ALLOWED else []
    say(columns(rows))
    if failed:
        note(f'FAILED: {"; ".join(failed)}')
    return not failed


def _scores(items: list[dict[str, Any]], sampler: Any) -> dict[str, tuple[float, float]]:
    """Give the mean PSNR of each task's images, degraded and restored by a sampler."""
    restorer = Restorer.from_checkpoint(RESTORING.checkpoint, sampler=sampler)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for item in items:
        images = (item['lq'], restorer.restore(item['lq']))
        target = tensor2img(item['gt'])
        before, after = (quickstart.psnr(tensor2img(image), target) for image in images)
        found[item['task']].append((before, after))
    return {task: (mean(before), mean(after)) for task, pairs in found.items() for before, after in [zip(*pairs)]}


if __name__ == '__main__':
    sys.exit(main())
