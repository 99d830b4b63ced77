"""The runs in full as options files, one each, to be trained by hand: ``options/dinoir/``."""

from __future__ import annotations

from pathlib import Path

from dinoir_plugin.core.options_files import options_folder
from dinoir_plugin.experiments.variants import Experiments, as_yaml, folder_name, training_options

RECOMMENDED = 'recommended'  # the file of what we would train today, and its budget


def flat_files(experiments: Experiments) -> dict[Path, str]:
    """Write the options files of the runs in full, path to text."""
    tables = [table for table in experiments.tables if experiments.allows(table, 'full')]
    files = {RECOMMENDED: (RECOMMENDED, 'dinoir')}
    backbones = experiments.budgets['full']['backbones']
    for name in dict.fromkeys(run for table in tables for run in experiments.runs_of(table)):
        about = experiments.runs[name]
        # one whose authors train it in their own way has a file of its own already, and so has what others guide
        elsewhere = 'method' in about or 'base' in backbones.get(about.get('backbone'), {})
        if experiments.learns(name) and not elsewhere:
            files[name] = ('full', name)
    return {
        options_folder() / 'dinoir' / f'train_{file}.yml': _flat_file(experiments, *about)
        for file, about in files.items()
    }


def _flat_file(experiments: Experiments, budget: str, run: str) -> str:
    size = experiments.budgets[budget]
    ours = 'docs/recommended.md has a reason for each difference from it' if budget == RECOMMENDED else (
        "the first of them says what of it is the paper's and what is our choice")  # fmt: skip
    header = (
        f'# Written by `dinoir reproduce options` from options/{size["base"]}.yml and dinoir_plugin/experiments/:\n'
        f'# change those; {ours}.\n'
    )
    opt = training_options(experiments.runs[run], size, folder_name(budget, run, seed=0), seed=0)
    return header + as_yaml(opt)
