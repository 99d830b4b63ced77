"""Rebinding a function everywhere BasicSR has bound it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def replace(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Bind ``new`` to every name in BasicSR's loaded modules that now means ``old``.

    BasicSR imports functions by name from one module into the next and star-imports all of them at its top level:
    changing the module that defines one would change nothing for the callers.
    """
    for name, module in list(sys.modules.items()):
        if name == 'basicsr' or name.startswith('basicsr.'):
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether the function was defined in this plugin, whatever name ``functools.wraps`` gave it."""
    return getattr(function, '__globals__', {}).get('__name__', '').startswith('dinoir_plugin.')
