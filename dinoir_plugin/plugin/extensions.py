"""Own modules of users, which register archs, losses, data sets, degradations, metrics and models when imported.

BasicSR has no place for them but its own folders. Here they are named in an environment variable, which reaches loader
workers, ranks and the commands alike, or by an installed package's entry points. Options files still run no code.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

VARIABLE = 'DINOIR_PLUGIN_IMPORT'
GROUP = 'dinoir_plugin.extensions'


def loaders() -> list[tuple[str, Callable[[], object]]]:
    """Find the modules that ``DINOIR_PLUGIN_IMPORT=my_parts,other`` names, then those of the entry-point group.

    Modules are also looked for in the working directory, after everything that is installed.

    Returns:
        What each is called in a warning, and what imports it.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, '').split(',') if name.strip()]
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    found: list[tuple[str, Callable[[], object]]] = [
        (f'{VARIABLE}={name}', functools.partial(importlib.import_module, name)) for name in names
    ]
    return found + [(f'{point.value}, an extension of {GROUP}', point.load) for point in entry_points(group=GROUP)]
