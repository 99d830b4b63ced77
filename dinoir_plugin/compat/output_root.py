"""A run's outputs land in site-packages, and ``path.experiments_root`` is ignored.

``python -m basicsr.train`` takes the folder above its own file for the project's root. BasicSR 1.4.2 ignores
``path.experiments_root`` and ``path.results_root``; states of its git master take them, not all in the same way.

Here both are the folder that holds the runs (the run's own folder is ``<experiments_root>/<name>``), and where BasicSR
is an installed package the working directory is the root. In a source checkout without these options nothing changes.
TensorBoard's folder is computed by train.py's own code, out of reach in ``__main__``; the two functions that get it
are not, so these move a path from below site-packages to the working directory.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from dinoir_plugin.compat._replace import is_ours, replace

INSTALLED = frozenset({'site-packages', 'dist-packages'})


def is_installed(path: str | Path) -> bool:
    """Tell whether a path lies where pip installs packages."""
    return not INSTALLED.isdisjoint(Path(path).parts)


def place(opt: dict[str, Any], root_path: str, base: str | None, is_train: bool) -> None:
    """Set a run's folders in the options that the host has parsed.

    Args:
        opt: The parsed options; their ``path`` is set here, as the host's own parse_options does.
        root_path: What the host takes for the project's root.
        base: The user's ``path.experiments_root`` (``path.results_root`` in a test), None where there is none.
        is_train: Whether it is a training run.
    """
    if base is None:
        if not is_installed(root_path):
            return
        base = str(Path.cwd() / ('experiments' if is_train else 'results'))
    root = Path(base).expanduser() / opt['name']
    opt['path'].update(log=str(root), visualization=str(root / 'visualization'))
    if is_train:
        opt['path'].update(
            experiments_root=str(root), models=str(root / 'models'), training_states=str(root / 'training_states')
        )
    else:
        opt['path'].update(results_root=str(root))


def relocated(path: str, root: Path) -> str:
    """Move a path below ``root`` to below the working directory; leave any other path as it is."""
    return str(Path.cwd() / Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path


def mend() -> bool:
    """Keep the functions that make TensorBoard's folder out of site-packages."""
    import basicsr
    from basicsr.utils import logger, misc

    root = Path(basicsr.__file__).absolute().parent.parent
    if not is_installed(root) or is_ours(misc.mkdir_and_rename):
        return False
    host_mkdir, host_tb = misc.mkdir_and_rename, logger.init_tb_logger

    @functools.wraps(host_mkdir)
    def mkdir_and_rename(path: str) -> None:
        host_mkdir(relocated(path, root))

    @functools.wraps(host_tb)
    def init_tb_logger(log_dir: str) -> Any:
        return host_tb(log_dir=relocated(log_dir, root))

    replace(host_mkdir, mkdir_and_rename)
    replace(host_tb, init_tb_logger)
    return True
