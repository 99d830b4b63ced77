"""Own modules of users, which register archs, losses, data sets, degradations, metrics and models when imported.

BasicSR has no place for them but its own folders. Here they are named in an environment variable, which reaches loader
workers, ranks and the commands alike, or by an installed package's entry points. Options files still run no code.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import entry_points

VARIABLE = 'DINOIR_PLUGIN_IMPORT'
GROUP = 'dinoir_plugin.extensions'


def load() -> list[tuple[str, Exception]]:
    """Import the modules that ``DINOIR_PLUGIN_IMPORT=my_parts,other`` names, then those of the entry-point group.

    Modules are also looked for in the working directory, after everything that is installed.

    Returns:
        What failed and why.
    """
    problems: list[tuple[str, Exception]] = []
    names = [name.strip() for name in os.environ.get(VARIABLE, '').split(',') if name.strip()]
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - handed on to the hook, which names it in a warning
            problems.append((f'{VARIABLE}={name}', error))
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - as above
            problems.append((f'{point.value}, an extension of {GROUP}', error))
    return problems
