"""What changes a run of BasicSR: put in place for the plugin's own runs, and taken out again for anybody else's.

A module named in ``HOOKS`` offers ``replacement()``: the function of the host and ours that takes its place.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from dinoir_plugin.compat import resume_device
from dinoir_plugin.compat._replace import Function, rebind
from dinoir_plugin.core.construct import registered_class
from dinoir_plugin.plugin import host_warnings, last_words, run_warnings
from dinoir_plugin.plugin.autoload import report

HOOKS = ('safe_yaml', 'resume', 'worker_seed', 'data_loader', 'learning_rate')
# the host's functions to ours, while ours are in place
_installed: dict[Function, Function] = {}


def set_up(caller: dict[str, Any], ours: bool) -> None:
    """Make BasicSR ready for the run that begins.

    Args:
        caller: Globals of the module that runs, which has bound functions of the host already.
        ours: Whether the run is one of the plugin's.
    """
    resume_device.take_over(caller)
    host_warnings.hush(ours)
    run_warnings.send_to_log(ours)
    if ours:
        last_words.speak_last()
        if not _installed:
            _installed.update(_replacements())
        _rebind_everywhere(_installed, caller)
    elif _installed:
        _rebind_everywhere({new: old for old, new in _installed.items()}, caller)
        _installed.clear()


def uses_plugin(opt: Mapping[str, Any]) -> bool:
    """Tell whether a run is one of the plugin's: its model, a network or a data set is, or is derived from one.

    Args:
        opt: The options as written; what is wrong with them is not looked at.
    """
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

    datasets = opt.get('datasets')
    blocks = [(DATASET_REGISTRY, block) for block in (datasets.values() if isinstance(datasets, dict) else ())]
    blocks += [(ARCH_REGISTRY, block) for key, block in opt.items() if str(key).startswith('network_')]
    types = [(registry, block.get('type')) for registry, block in blocks if isinstance(block, dict)]
    return any(_is_derived(registry, name) for registry, name in [(MODEL_REGISTRY, opt.get('model_type')), *types])


def _is_derived(registry: Any, name: Any) -> bool:
    kind = registered_class(registry, name)
    return kind is not None and any(base.__module__.startswith('dinoir_plugin.') for base in kind.__mro__)


def _replacements() -> dict[Function, Function]:
    """Collect what all hooks replace; of one that does not fit this host a warning tells, the others are of use."""
    found, problems = {}, []
    for name in HOOKS:
        try:
            host, ours = importlib.import_module(f'dinoir_plugin.plugin.{name}').replacement()
            found[host] = ours
        except Exception as error:  # noqa: BLE001 - named in the warning
            problems.append((f'dinoir_plugin.plugin.{name}', error))
    report(problems)
    return found


def _rebind_everywhere(functions: dict[Function, Function], caller: dict[str, Any]) -> None:
    # trainers of other people bind the host's functions too, in any module; our own keep their names
    others = [module for name, module in list(sys.modules.items()) if name.partition('.')[0] != 'dinoir_plugin']
    namespaces = [getattr(module, '__dict__', None) for module in others]
    rebind(functions, [caller, *(namespace for namespace in namespaces if isinstance(namespace, dict))])
