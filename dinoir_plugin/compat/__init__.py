"""Mends of BasicSR's faults, one small file each.

A file here offers ``mend() -> bool``: it changes one thing in the running BasicSR and says whether it did; it leaves
alone a host that is right already or mended already. Nothing on disk is touched.
"""

from __future__ import annotations

import importlib

# Before BasicSR's own code runs: what it cannot be imported without.
BEFORE_IMPORT = ('torchvision_import',)
# After all of BasicSR is imported. safe_yaml stands before parse_options, which uses its loader.
AFTER_IMPORT = (
    'safe_yaml',
    'output_root',
    'resume',
    'parse_options',
    'dist_launch',
    'ddp_device',
    'worker_seed',
    'data_loader',
    'prefetch_errors',
    'runpy_warning',
)


def before_import() -> list[tuple[str, Exception]]:
    """Apply what has to be there when BasicSR's code runs; returns what failed and why."""
    return _apply(BEFORE_IMPORT)


def after_import() -> list[tuple[str, Exception]]:
    """Apply the mends of an imported BasicSR; returns what failed and why."""
    return _apply(AFTER_IMPORT)


def _apply(names: tuple[str, ...]) -> list[tuple[str, Exception]]:
    problems: list[tuple[str, Exception]] = []
    for name in names:
        try:
            importlib.import_module(f'{__name__}.{name}').mend()
        except Exception as error:  # noqa: BLE001 - handed on to the hook; the other mends are worth having without it
            problems.append((f'{__name__}.{name}', error))
    return problems
