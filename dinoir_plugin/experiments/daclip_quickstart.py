"""A tiny DA-CLIP end to end, on photographs of scikit-image: ``python scripts/daclip_quickstart.py``.

Stage 1 learns to name ten degradations. An interrupted run goes on with the same command, and what is finished is not
done again. Everything lies in the working directory: datasets/quickstart/, experiments/daclip_*_quickstart/.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.data.task import AVERAGE
from dinoir_plugin.experiments import quickstart
from dinoir_plugin.experiments.programs import Progress, start
from dinoir_plugin.experiments.runs import TRAINED, checkpoint_of
from dinoir_plugin.experiments.variants import read_yaml

FAR_ABOVE = 3  # times what guessing gives


class Stage(NamedTuple):
    """Hold one of the trainings.

    Attributes:
        title: What it learns.
        options: Name of its options file.
    """

    title: str
    options: str

    @property
    def written(self) -> dict[str, Any]:
        """Give what stands in the options file."""
        content: dict[str, Any] = read_yaml(options_file(self.options))
        return content

    @property
    def folder(self) -> Path:
        """Name the run's folder."""
        return Path('experiments') / str(self.written['name'])


WORDS = Stage('stage 1, words for degradations', 'daclip/train_stage1_quickstart')


def main() -> int:
    """Train and report; the exit status says whether it learned what it should."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        quickstart.prepare()
        train(WORDS)
        learned = report_words()
    except (ValueError, OSError) as error:
        note(str(error))
        return BAD
    return GOOD if learned else BAD


def train(stage: Stage) -> None:
    """Train a stage to its end, from where an earlier call was broken off.

    Raises:
        RunError: It was stopped or failed.
    """
    written = stage.written
    if checkpoint_of(written['name']).is_file():
        note(f'{stage.title}: trained already, {stage.folder}')
        return
    log = Path('experiments') / f'{written["name"]}.log'
    note(f'{stage.title}: training; output: {log}')
    words = ['-m', 'basicsr.train', '-opt', str(options_file(stage.options)), '--auto_resume']
    start(words, log, stage.title, Progress(TRAINED, int(written['train']['total_iter']), 'it'))


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
