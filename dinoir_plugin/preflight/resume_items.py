"""What a run would go on from, held against what the options ask for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.pretrained import weights_for
from dinoir_plugin.core.training_state import Checkpoint, newest_whole, read_state
from dinoir_plugin.guidance.trained_with import other_encoder
from dinoir_plugin.models.optimizer import make_optimizer
from dinoir_plugin.models.resuming import check_optimizer, check_schedule, keeps_state, option_changes
from dinoir_plugin.preflight.check_item import CheckItem

AUTO = '--auto_resume'
ELSE = 'Give the options that it was trained with, or the run another name'


def resume_items(opt: Mapping[str, Any]) -> list[CheckItem]:
    """List the check of what the run goes on from; it takes the network.

    Where the options do not ask for it, but the run's folder holds a checkpoint, what keeps ``--auto_resume`` from
    going on is a warning.
    """
    if opt.get('auto_resume'):
        return [CheckItem(AUTO, lambda network: _check(opt, network, AUTO))]
    if opt['path'].get('resume_state'):
        return [CheckItem('path.resume_state', lambda network: _check(opt, network, 'path.resume_state'))]
    if has_checkpoint(opt):
        return [CheckItem(AUTO, lambda network: _look(opt, network))]
    return []


def has_checkpoint(opt: Mapping[str, Any]) -> bool:
    """Tell whether the run's folder holds a training state."""
    folder = opt['path'].get('training_states')
    return folder is not None and any(Path(folder).glob('*.state'))


def asked_for(opt: Mapping[str, Any]) -> bool:
    """Tell whether the run goes on from something."""
    return bool(opt.get('auto_resume') or opt['path'].get('resume_state'))


def _look(opt: Mapping[str, Any], network: nn.Module) -> str:
    try:
        return f'{_check(opt, network, AUTO)}; without it the run begins anew'
    except OptionsError as error:
        warnings.warn(f'with --auto_resume the run would stop. {error}', stacklevel=2)
        return str(opt['path']['training_states'])


def _check(opt: Mapping[str, Any], network: nn.Module, option: str) -> str:
    checkpoint, state = _found(opt, option)
    if checkpoint is None:
        return 'no checkpoint yet: the run begins anew'
    for path in checkpoint.networks:
        if path.name == f'net_g_{checkpoint.iteration}.pth':
            _check_network(opt, network, path, option)
    train = opt['train']
    arguments = {key: value for key, value in train['optim_g'].items() if key != 'type'}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(train['optim_g'].get('type'), trained, **arguments)
    kinds = state.get('optimizer_types') or [None]
    check_optimizer(state['optimizers'][0], kinds[0], optimizer)
    if keeps_state(train):
        check_schedule(state['schedulers'][0], train['scheduler'].get('type'), train['total_iter'])
    if asked_for(opt) and checkpoint.iteration >= train['total_iter']:
        warnings.warn(
            f'train.total_iter: the run ends after {train["total_iter"]} iterations, and {checkpoint.state} is of '
            f'iteration {checkpoint.iteration}: nothing is left to train', stacklevel=2,
        )  # fmt: skip
    # the run itself logs both values of each
    others = [path for path, _, _ in option_changes(opt, state)]
    said = f'; otherwise than there: {", ".join(others)}' if others else ''
    return f'{checkpoint.state}, iteration {checkpoint.iteration}{said}'


def _found(opt: Mapping[str, Any], option: str) -> tuple[Checkpoint | None, dict[str, Any]]:
    try:
        if option == AUTO:
            found = newest_whole(dict(opt))
            return found if found is not None else (None, {})
        path = Path(opt['path']['resume_state']).expanduser()
        if not path.is_file():
            raise OptionsError(option, f"there is no file '{path}'")
        state = read_state(path)
        checkpoint = Checkpoint(dict(opt), state['iter'])
        checkpoint.state = path
        return checkpoint, state
    except FileError as error:
        raise OptionsError(option, str(error)) from error


def _check_network(opt: Mapping[str, Any], network: nn.Module, path: Path, option: str) -> None:
    try:
        weights = weights_for(network, path, 'params', 'whole', option)
    except OptionsError as error:
        raise OptionsError(option, error.problem, ELSE) from error
    other = other_encoder(network, opt['network_g'], weights.trained_with, path, ELSE)
    if other:
        raise other
