"""From a run's short description to BasicSR's options."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from dinoir_plugin.core.options_files import options_file

PAPERS = Path(__file__).resolve().parent / 'papers'
FIRST = 'dinoir'  # whose runs and tables have no paper in their names
TEST_SEED = 0  # the same noise in the test images of all runs


class Experiments:
    """Hold what ``experiments.yml`` and ``budgets.yml`` of a paper's folder say.

    Args:
        paper: Name of the folder.

    Attributes:
        title: The paper's.
        runs: Name to description.
        tables: Name to title, tests and rows.
        tasks: What a run is trained for that says nothing else.
        metrics: Name to options, as under ``val.metrics``.
        conventions: Name of a table's first metric to a sentence on how all of them are taken.
        result_figures: Name to the table that it is drawn from.
        feature_figures: Names of those that are drawn without training.
        unknown_figures: Names of those of which it is not known here what they show.
        budgets: Name to base file, sizes and images.
    """

    def __init__(self, paper: str = FIRST) -> None:
        content = read_yaml(PAPERS / paper / 'experiments.yml')
        self.paper = paper
        self.title: str = content['title']
        self.runs: dict[str, dict[str, Any]] = content['runs']
        self.tables: dict[str, dict[str, Any]] = content['tables']
        self.tasks: list[str] = content['tasks']
        self.metrics: dict[str, dict[str, Any]] = content['metrics']
        self.conventions: dict[str, str] = content['conventions']
        self.result_figures: dict[str, str] = content.get('result_figures', {})
        self.feature_figures: list[str] = content.get('feature_figures', [])
        self.unknown_figures: list[str] = content.get('unknown_figures', [])
        budgets: dict[str, dict[str, Any]] = read_yaml(PAPERS / paper / 'budgets.yml')
        self.budgets = {name: {**budgets[size.get('like', name)], **size} for name, size in budgets.items()}

    @classmethod
    def of(cls, what: str) -> Experiments:
        """Give those of the paper that has this table or figure."""
        return next(found for found in every_paper() if what in found.targets)

    @property
    def targets(self) -> list[str]:
        """Name all tables and figures."""
        return [*self.tables, *self.result_figures, *self.feature_figures]

    def rows_of(self, table: str) -> list[str]:
        """Name the runs of a table's rows, without those that are not built."""
        return [row[-1] for row in self.tables[table]['rows'] if row[-1] is not None]

    def runs_of(self, table: str) -> list[str]:
        """Name the runs behind a table's rows, each after those whose networks it needs."""
        return [found for run in self.rows_of(table) for found in self._with_needed(run)]

    def _with_needed(self, run: str) -> list[str]:
        about = self.runs[run]
        first = [about['after']] if 'after' in about else []
        needed = [*about.get('before', []), *first, *about.get('encoders', {}).values()]
        return [*(found for other in needed for found in self._with_needed(other)), run]

    def tasks_of(self, run: str | None) -> list[str]:
        """Name the tasks that a run is trained for."""
        tasks: list[str] = self.runs.get(str(run), {}).get('tasks', self.tasks)
        return tasks

    def metrics_of(self, budget: str) -> dict[str, dict[str, Any]]:
        """Give the metrics that a budget measures, all of them if it does not say."""
        names = self.budgets[budget].get('metrics', self.metrics)
        return {name: self.metrics[name] for name in names}

    def learns(self, run: str) -> bool:
        """Say whether there is anything to train."""
        return bool(self.runs[run].get('learns', True))

    def repeats(self, run: str) -> bool:
        """Say whether each seed has a training of its own; not what learns nothing or comes before other runs."""
        return self.learns(run) and not any(run in about.get('before', []) for about in self.runs.values())

    def allows(self, table: str, budget: str) -> bool:
        """Say whether a table is for a budget; most are for all."""
        return budget in self.tables[table].get('budgets', self.budgets)


def every_paper() -> list[Experiments]:
    """Give the experiments of all papers, DINO-IR's first."""
    names = sorted((folder.name for folder in PAPERS.iterdir()), key=lambda name: (name != FIRST, name))
    return [Experiments(name) for name in names]


def read_yaml(path: Path) -> Any:
    """Read an options or data file of this project."""
    return yaml.safe_load(path.read_text(encoding='utf-8'))


def training_options(
    run: dict[str, Any], budget: dict[str, Any], name: str, seed: int, data: str | None = None
) -> dict[str, Any]:
    """Give a run's options for BasicSR's trainer.

    Args:
        run: Its description in ``experiments.yml``.
        budget: One of ``budgets.yml``.
        name: The run's folder in ``experiments/``.
        seed: Of initial weights, patches and degradations.
        data: Folder that stands for ``{data}``; None: that stays as it is.
    """
    chosen = budget['backbones'].get(run.get('backbone'), {})
    opt = read_yaml(options_file(chosen.get('base', budget['base'])))
    opt['name'] = name
    opt['manual_seed'] = seed
    own = 'base' in chosen
    setting = budget['settings'][run['setting']] if 'setting' in run else {}
    _put_all(opt, {**({} if own else budget.get('options', {})), **setting})
    if not own:
        _set_network(opt, run, chosen)
    _put_all(opt, chosen.get('training', {}))
    _put_all(opt, budget['methods'][run['method']] if 'method' in run else {})
    if 'tasks' in run:
        _keep_tasks(opt, run['tasks'])
    if 'lists' in run:
        for task, source in opt['datasets']['train']['tasks'].items():
            source['meta_info_file'] = f'{budget["lists"]}/{run["lists"]}/{task}.txt'
    return filled(opt, data)


def begin_with(opt: dict[str, Any], checkpoint: Path) -> None:
    """Let a training begin with the weights of another one, as far as their names and shapes are the same."""
    opt['path'].update(pretrain_network_g=str(checkpoint), strict_load_g=False)


def encode_with(opt: dict[str, Any], key: str, checkpoint: Path) -> None:
    """Let a network be guided by an encoder that another training has made; ``key`` is the encoder's."""
    opt['network_g'][key]['weights'] = str(checkpoint)


def test_options(
    training: dict[str, Any],
    tests: dict[str, Any],
    name: str,
    checkpoint: Path | None,
    metrics: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Give options for BasicSR's tester: what a trained run does with each of ``tests`` (name to its tasks).

    Without a checkpoint it is a run that learns nothing.
    """
    sampler = (training.get('val') or {}).get('sampler')
    weights = 'params_ema' if training['train'].get('ema_decay', 0) > 0 else 'params'
    sets = {
        f'test_{test}': {'name': test, 'type': 'MixedDegradationDataset', 'tasks': tasks}
        for test, tasks in tests.items()
    }
    return {
        'name': name,
        'model_type': training['model_type'],
        'num_gpu': training['num_gpu'],
        'manual_seed': TEST_SEED,
        'datasets': sets,
        'network_g': training['network_g'],
        'path': {'pretrain_network_g': str(checkpoint), 'param_key_g': weights, 'strict_load_g': True}
        if checkpoint
        else {'pretrain_network_g': None},
        'val': {
            'save_img': True,
            'suffix': None,
            'pbar': False,
            **({'sampler': sampler} if sampler else {}),
            'metrics': metrics,
        },
    }


def filled(content: Any, data: str | None) -> Any:
    """Put the folder ``data``, where there is one, in place of ``{data}``."""
    if isinstance(content, dict):
        return {key: filled(value, data) for key, value in content.items()}
    if isinstance(content, list):
        return [filled(value, data) for value in content]
    return content.replace('{data}', data) if isinstance(content, str) and data else content


def as_yaml(opt: dict[str, Any]) -> str:
    """Write options as the text of a file."""
    return yaml.dump(opt, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=110)


def folder_name(budget: str, run: str, seed: int) -> str:
    """Name a run's folder in ``experiments/`` and ``results/``."""
    return f'{budget}_{run}_seed{seed}'


class _Plain(yaml.SafeDumper):
    """Write what occurs twice twice: an options file without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _put_all(opt: dict[str, Any], values: dict[str, Any]) -> None:
    for path, value in values.items():
        _put(opt, path, copy.deepcopy(value))


def _put(opt: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split('.')
    for key in parents:
        opt = opt[key]
    if value is None:
        opt.pop(last, None)
    else:
        opt[last] = value


def _keep_tasks(opt: dict[str, Any], tasks: list[str]) -> None:
    """Leave out the other tasks, and the validation sets that are left without any."""
    for key, options in list(opt['datasets'].items()):
        options['tasks'] = {task: source for task, source in options['tasks'].items() if task in tasks}
        if not options['tasks']:
            del opt['datasets'][key]


def _set_network(opt: dict[str, Any], run: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Choose backbone, guidance and loss; ``chosen`` is what the budget says of the run's backbone."""
    network, train = opt['network_g'], opt['train']
    encoder = network['encoder']
    if run.get('random_encoder'):
        encoder['weights'] = 'random'
    if chosen:
        network['backbone'] = {'type': chosen.get('type', run['backbone']), **chosen['options']}
        network['guide_at'] = chosen.get('guide_at')
    levels = run.get('levels')
    if levels:
        encoder['layers'] = {level: encoder['layers'][level] for level in levels}
    if not run.get('dpc', True):
        del train['dpc_opt']
    elif levels == []:
        # there is no guidance whose encoder the loss could share
        train['dpc_opt']['encoder'] = {key: value for key, value in encoder.items() if key != 'layers'}
    if levels == []:
        opt['network_g'] = network['backbone']
