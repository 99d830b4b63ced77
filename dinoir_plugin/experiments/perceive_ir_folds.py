"""The lists that Perceive-IR's tables need: folds of the training set, and scenes that are held out.

python -m dinoir_plugin.experiments.perceive_ir_folds BUDGET
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dinoir_plugin.core.console import GOOD, say
from dinoir_plugin.datasets.folds import Request, make_folds
from dinoir_plugin.experiments import quickstart
from dinoir_plugin.experiments.measured import FOLDER, write
from dinoir_plugin.experiments.variants import Experiments, training_options

PAPER, RUN = 'perceive_ir', 'perceive_fold0'


def main() -> int:
    """Write the lists; for a budget on the quickstart's photographs write these first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    experiments = Experiments(PAPER)
    parser.add_argument('budget', choices=list(experiments.budgets))
    budget = parser.parse_args().budget
    size = experiments.budgets[budget]
    about = {key: value for key, value in experiments.runs[RUN].items() if key != 'lists'}
    options = training_options(about, size, f'{budget}_folds', seed=0)
    tasks = options['datasets']['train']['tasks']
    if {Path(block['dataroot_gt']) for block in tasks.values()} == {quickstart.IMAGES / 'train'}:
        quickstart.prepare()
    file, lists = FOLDER / f'{budget}_folds.yml', Path(size['lists'])
    write(file, options)
    counts = make_folds(file, lists, Request(scenes=size['scenes']))
    say(f'{lists}: {", ".join(f"{task} {sum(of_task[:-1])}" for task, of_task in counts.items())} images in folds')
    return GOOD


if __name__ == '__main__':
    sys.exit(main())
