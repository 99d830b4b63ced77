"""A tiny DA-CLIP end to end, on photographs of scikit-image: ``python scripts/daclip_quickstart.py``.

Stage 1 learns to name ten degradations, and a U-Net that it guides learns to restore two of them. An interrupted run
goes on with the same command, and what is finished is not done again. Everything lies in the working directory:
datasets/quickstart/, experiments/daclip_*_quickstart/.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.data.task import AVERAGE
from dinoir_plugin.experiments import daclip_unet, quickstart
from dinoir_plugin.experiments.stage import Stage

FAR_ABOVE = 3  # times what guessing gives


WORDS = Stage('stage 1, words for degradations', 'daclip/train_stage1_quickstart')


def main() -> int:
    """Train and report; the exit status says whether it learned what it should."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        quickstart.prepare()
        WORDS.train()
        learned = report_words()
        daclip_unet.train(WORDS.checkpoint)
        restores = daclip_unet.report()
    except (ValueError, OSError) as error:
        note(str(error))
        return BAD
    return GOOD if learned and restores else BAD


def report_words() -> bool:
    """Say how many held-out images are given their own word; return whether that is far above chance."""
    written = WORDS.written
    sets: dict[str, Any] = written['datasets']
    figures = WORDS.folder / f'metrics_{sets["val"]["name"]}.json'
    content = json.loads(figures.read_text(encoding='utf-8'))
    images = [image['task'] for image in content['images']]
    means: dict[str, dict[str, float]] = content['means']
    chance = 1 / len(sets['train']['tasks'])
    rows = [('word', 'images', 'accuracy')]
    rows += [(word, str(images.count(word) if word != AVERAGE else len(images)), f'{row["accuracy"]:.0%}')
             for word, row in means.items()]  # fmt: skip
    say(f'\nDegradations of held-out photographs that get their own word (guessing: {chance:.0%})\n')
    say(columns(rows))
    say(f'\nCLIP has {written["network_g"]["weights"]} weights here: this shows that the machinery works, no more.')
    learned = means[AVERAGE]['accuracy'] >= FAR_ABOVE * chance
    if not learned:
        note(f'FAILED: expected {FAR_ABOVE * chance:.0%} at least')
    return learned


if __name__ == '__main__':
    sys.exit(main())
