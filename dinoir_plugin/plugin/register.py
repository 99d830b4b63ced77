"""Registering the plugin's classes and the users' own with BasicSR, and hooking into the start of its runs."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable

from dinoir_plugin import compat
from dinoir_plugin.plugin import extensions

# Folders whose modules register something, in the order of import; a method may register in any of the ways.
PLACES = ('archs', 'losses', 'data', 'metrics', 'models', 'methods')
# BasicSR's own convention: a module takes part when its name ends so.
ENDINGS = ('_arch', '_loss', '_dataset', '_metric', '_model')


def module_names() -> list[str]:
    """Name all modules that register something, in the order of import."""
    names: list[str] = []
    for place in PLACES:
        package = importlib.import_module(f'dinoir_plugin.{place}')
        found = pkgutil.walk_packages(package.__path__, f'{package.__name__}.')
        names += sorted(info.name for info in found if info.name.endswith(ENDINGS))
    return names


def register() -> list[tuple[str, Exception]]:
    """Hook into the start of a run, then import every module that registers something, ours and the users' own.

    A second call changes nothing.

    Returns:
        What failed and why. One module that cannot register (a missing dependency, a BasicSR fork that has a class of
        that name already) leaves the others at work.
    """
    problems = compat.mend_all('dinoir_plugin.plugin', ('run_start',))
    own: list[tuple[str, Callable[[], object]]] = [
        (name, functools.partial(importlib.import_module, name)) for name in module_names()
    ]
    for name, load in [*own, *extensions.loaders()]:
        try:
            load()
        except Exception as error:  # noqa: BLE001 - handed on to the hook, which names it in a warning
            problems.append((name, error))
    return problems
