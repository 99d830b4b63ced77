"""Rebinding functions wherever they have been bound by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

Function = Callable[..., Any]


def replace(old: Function, new: Function) -> None:
    """Bind ``new`` to every name in BasicSR's loaded modules that now means ``old``.

    BasicSR imports functions by name from one module into the next and star-imports all of them at its top level:
    changing the module that defines one would change nothing for the callers.
    """
    loaded = list(sys.modules.items())
    rebind({old: new}, [vars(module) for name, module in loaded if name == 'basicsr' or name.startswith('basicsr.')])


def rebind(functions: dict[Function, Function], namespaces: Iterable[dict[str, Any]]) -> None:
    """Bind the values of ``functions`` to every name that means one of its keys.

    Args:
        functions: The function that is bound now to the one that takes its place.
        namespaces: Globals of modules, changed in place.
    """
    # by identity: what else stands in a module need not be hashable, and may compare in any way
    new = {id(old): function for old, function in functions.items()}
    for namespace in namespaces:
        for name, value in list(namespace.items()):
            if id(value) in new:
                namespace[name] = new[id(value)]


def is_ours(function: Function) -> bool:
    """Tell whether the function was defined in this plugin, whatever name ``functools.wraps`` gave it."""
    return getattr(function, '__globals__', {}).get('__name__', '').startswith('dinoir_plugin.')
