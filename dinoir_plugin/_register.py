"""Registers the plugin's classes with BasicSR by importing the modules that define them."""

from __future__ import annotations

import importlib
import pkgutil

# BasicSR's own convention: a module takes part when its name ends so.
PLACES = (
    ('dinoir_plugin.archs', '_arch'),
    ('dinoir_plugin.losses', '_loss'),
    ('dinoir_plugin.data', '_dataset'),
    ('dinoir_plugin.metrics', '_metric'),
    ('dinoir_plugin.models', '_model'),
)


def module_names() -> list[str]:
    """The full names of all modules that register something, in the order of import."""
    names = []
    for place, ending in PLACES:
        package = importlib.import_module(place)
        found = sorted(info.name for info in pkgutil.iter_modules(package.__path__) if info.name.endswith(ending))
        names += [f'{place}.{name}' for name in found]
    return names


def register() -> list[tuple[str, Exception]]:
    """Import every module that registers something; the second call finds them imported.

    Returns:
        What failed and why. One module that cannot register (a BasicSR fork that has a class of that name already,
        a missing dependency) leaves the others at work.
    """
    problems: list[tuple[str, Exception]] = []
    for name in module_names():
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - handed on to the hook, which names it in a warning
            problems.append((name, error))
    return problems
