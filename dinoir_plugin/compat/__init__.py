"""Mends of BasicSR's faults, one small file each, for every run on the machine.

A file here offers ``mend() -> bool``: it changes one thing in the running BasicSR and says whether it did; it leaves
alone a host that is right already or mended already. Nothing on disk is touched. What concerns the plugin's own runs
only stands in :mod:`dinoir_plugin.plugin`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

# Before BasicSR's own code runs: what it cannot be imported without.
BEFORE_IMPORT = ('distutils_import', 'torchvision_import')
# After all of BasicSR is imported.
AFTER_IMPORT = (
    'output_root', 'dist_launch', 'ddp_device', 'prefetch_errors', 'prefetch_stream', 'resume_device', 'runpy_warning'
)  # fmt: skip


def before_import() -> list[tuple[str, Exception]]:
    """Apply what has to be there when BasicSR's code runs; return what failed and why."""
    return mend_all(__name__, BEFORE_IMPORT)


def after_import() -> list[tuple[str, Exception]]:
    """Apply the mends of an imported BasicSR; return what failed and why."""
    return mend_all(__name__, AFTER_IMPORT)


def mend_all(package: str, names: Sequence[str]) -> list[tuple[str, Exception]]:
    """Call ``mend`` of modules of a package, each on its own; return what failed and why."""
    problems: list[tuple[str, Exception]] = []
    for name in names:
        try:
            importlib.import_module(f'{package}.{name}').mend()
        except Exception as error:  # noqa: BLE001 - handed on to the hook; the other mends are worth having without it
            problems.append((f'{package}.{name}', error))
    return problems
