"""The small model that comes with the package: where it lies, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dinoir_plugin.core.network_file import Description

NAME = 'starter'  # stands for it where a checkpoint is named
FOLDER = Path(__file__).resolve().parents[1] / 'starter'
FILE = FOLDER / 'starter.safetensors'
CARD = FOLDER / 'card.md'


def is_starter(checkpoint: str | Path) -> bool:
    """Tell whether a name stands for the package's model: the word alone, where there is no file of that name."""
    return str(checkpoint) == NAME and not Path(NAME).exists()


def checkpoint_file(checkpoint: str | Path) -> Path:
    """Give the file of a checkpoint.

    Args:
        checkpoint: A path, or ``starter``.

    Raises:
        FileError: The package has no model.
    """
    if not is_starter(checkpoint):
        return Path(checkpoint)
    if not FILE.is_file():
        from dinoir_plugin.core.atomic_files import FileError

        raise FileError(f'{FILE} is missing: this copy of the package has no starter model. Give a network of your '
                        'own: --checkpoint CKPT, in Python from_checkpoint(path)')
    return FILE


def which(description: Description | None) -> str:
    """Say in a line which model it is, from what its file says of it."""
    about = '' if description is None else f': {description.network["type"]}, {description.iteration} iterations'
    return f'the {NAME} model that comes with the package{about}; dinoir info {NAME} says what it is good for'


def card() -> str:
    """Read what the model was trained on, its figures, and what it is not good for.

    Raises:
        FileError: The package has no model.
    """
    checkpoint_file(NAME)
    return CARD.read_text(encoding='utf-8').strip()
