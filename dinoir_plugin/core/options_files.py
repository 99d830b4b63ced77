"""The options files that come with the package: those of the checkout, or the copies that a wheel carries."""

from __future__ import annotations

from pathlib import Path

from dinoir_plugin.core.errors import nearest

PACKAGE = Path(__file__).resolve().parents[1]
CARRIED = PACKAGE / 'options_files'  # setup.py puts it into wheels
CHECKOUT = PACKAGE.parent / 'options'


def options_folder() -> Path:
    """Give the folder of the options files, ``options/`` where the package runs from a checkout."""
    return CARRIED if CARRIED.is_dir() else CHECKOUT


def options_names() -> list[str]:
    """Name all options files as :func:`options_file` takes them, those at the front door first."""
    folder = options_folder()
    names = [path.relative_to(folder).with_suffix('').as_posix() for path in folder.rglob('*.yml')]
    return sorted(names, key=lambda name: (name.count('/'), name))


def options_file(name: str) -> Path:
    """Find an options file by its name.

    Args:
        name: Path below ``options/``, with or without ``.yml``: ``train_dinoir_all4``, ``dinoir/train_psf.yml``.

    Raises:
        ValueError: There is none of that name.
    """
    short = name.removesuffix('.yml')
    if short not in options_names():
        raise ValueError(f"there is no options file '{name}': {nearest(short, options_names())}")
    return options_folder() / f'{short}.yml'
